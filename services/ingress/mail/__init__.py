"""What comes back about our emails: bounces and complaints from Resend, and customers who unsubscribe.

    webhook.py      POST /webhooks/resend: from raw bytes to a committed effect       svix.py   its signature
    unsubscribe.py  GET and POST /unsubscribe/{token}: a customer ends all messages   pages.py  what they see of it
    routes.py       which of them are there
    silencing.py    a customer is not written to any more, in one transaction         store.py  its SQL

All of it is signed by somebody (Resend, or we ourselves) and nobody has to log in; none of it reads Stripe.
"""
