"""The remote services, and everything that a call to them passes.

    remote          remote services that `perform` may use
    stripe_calls    the calls to Stripe; its answers as typed outcomes, its errors as ours
    stripe_objects  Stripe's objects, with every field that is kept
    invoices        readings: Stripe's invoices and charges, reduced to what the rules need
    email           the calls to Resend
    mail_quota      no emails when Resend's quota is used up
    stripe_gate     what every call to Stripe passes: rates, circuit, lease
    call_rates      limits on calls a second, over all workers
    circuits        no calls to a service that is down
    lease           how long this worker still holds its task
    store           the SQL of call rates

Only `call_rates` and `mail_quota` use the database, because all workers share its rows.
"""
