"""Catching up: fetches the events that Stripe could not deliver.

    schedule ──> a task per merchant, every half hour, each merchant at a minute of its own
                    │
                    v        ┌── open invoices to be read ──> recoveries that nobody told of
    plan: the next step ─────┼── the next page of open invoices, every three days
      of this merchant       ├── the next page of events that were not delivered
                             └── nothing: the merchant is up to date

A run makes one step: one list call, or a few reads (`listing`). What it found, how far it came and the next step's
task commit together. So a run that dies is repeated from where the last one ended, and an event that is taken twice
has one effect (`shared.events.taking`). A merchant's progress is its row in `catch_ups` (`store`), and nothing else.

Why both lists. Stripe tries to deliver an event for three days, and lists the undelivered ones for thirty
(https://docs.stripe.com/webhooks/process-undelivered-events). An event that Stripe never tried to deliver, because the
endpoint was disabled or did not exist yet, is not in that list. So the open invoices are listed too, when the last
such list is older than Stripe's retries: after an outage or a pause of that length, at a new connection, else every
three days.
"""
