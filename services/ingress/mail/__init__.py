"""Requests about our emails: Resend's events (bounces, complaints), and customers who unsubscribe.

    webhook      POST /webhooks/resend: from raw bytes to a committed effect
    svix         the signature of Resend's webhooks
    unsubscribe  GET and POST /unsubscribe/{token}: a customer ends all messages
    pages        the page that the customer sees
    routes       which of these routes are served
    silencing    silences a customer, in one transaction
    store        the SQL

Every request is signed (by Resend, or by us) and needs no login; none of this calls Stripe.
"""
