"""Catching up: what Stripe could not deliver is fetched.

    schedule ──> a task per merchant, every half hour, each merchant at a minute of its own
                    │
                    v        ┌── open invoices to be read ──> recoveries that nobody told of
    plan: the next step ─────┼── the next page of open invoices, every three days
      of this merchant       ├── the next page of events that were not delivered
                             └── nothing: it is up to date

A run makes one step: one list call, or a few reads. What it found and how far it came commit together, and the next
step is queued with them; so a run that dies is repeated from where the last one ended, and whatever is taken twice has
one effect (`shared.events.taking`). All that is known of a merchant's progress is its row in `catch_ups`.

Why both lists. Stripe posts an event for three days, and lists for thirty those that it could not deliver
(https://docs.stripe.com/webhooks/process-undelivered-events). It does not list as undelivered what it never tried to
deliver, because the endpoint was disabled or not there yet. So the open invoices are listed when the last such list is
older than Stripe's retries: after an outage or a pause of that length, at a new connection, else every three days.
"""
