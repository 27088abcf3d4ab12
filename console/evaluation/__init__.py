"""What a policy would do before it is activated: the live brain, on made-up or past failures.

Without a database: it calls the same pure `decide`. Only a back-test calls Stripe, to read the past.
"""
