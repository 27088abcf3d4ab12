"""The remote services, and everything that stands before a call to them.

    remote        what `perform` may use of them
    stripe_calls  the calls to Stripe; its answers as typed outcomes, its errors as ours
    invoices      what the rules need of an invoice as Stripe writes it
    email         the calls to Resend
    stripe_gate   what every call to Stripe passes: rates, circuit, lease
    call_rates    calls a second, over all workers
    circuits      a service that is down is left alone
    lease         how long this worker still holds its task

Nothing here has a database in its hands but `call_rates`, whose rows all workers share.
"""
