"""The steps of `dunning_retry`: what it knows (`dossier`), does at Stripe (`collect`) and makes of it (`conclude`).

                       ┌── due: the attempt's row is committed ──> read, decide, pay ──┐
    dunning_retry ── load                                                              ├──> conclude ──> the next task
                       ├── nothing due ──────────────────────────> read, decide ───────┤
                       └── an attempt without an outcome ────────> read, settle it ────┘

Why no customer is charged twice. An attempt's row and its key are committed before the call. The truth is read right
before the call, and nothing is sent unless the rules say so about that very reading. Whatever happens then, the row
says `started`, and the next run finds it and settles it before anything else: with the same key while Stripe keeps
keys, by reading afterwards. Two attempts of one recovery cannot be in flight: a unique index says so. And Stripe
itself collects an open invoice only.
"""
