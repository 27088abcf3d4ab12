"""The steps of `dunning_retry`: reads the dossier, acts at Stripe (`collect`), writes the results (`conclude`)
and books what moved (`money`); `outcome` is what goes from the one to the other.

                       ┌── due: the attempt's row is committed ──> read, decide, pay ──┐
    dunning_retry ── load                                                              ├──> conclude ──> the next task
                       ├── nothing due ──────────────────────────> read, decide ───────┤
                       └── an attempt without an outcome ────────> read, settle it ────┘

Why no customer is charged twice. An attempt's row and its idempotency key are committed before the call. The invoice
is read right before the call, and the request is sent only if the rules allow it for that reading. If the run dies
then, the row still says `started`: the next run settles that attempt before anything else, with the same key while
Stripe keeps it, and by reading the charges later. A unique index allows one attempt of a recovery in flight. And
Stripe collects open invoices only.
"""
