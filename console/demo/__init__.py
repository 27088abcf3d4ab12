"""`citadel demo`: thirty days of two thousand subscriptions in about a minute, with checks at the end.

`story.py` runs it, `checks.py` checks it, `summary.py` prints it.
"""
