"""What customers and merchants are written: which message, in which language, in whose colours, with which link.

    campaign.py   the messages there are, and which of them is due      brand.py    a merchant's name and colour
    language.py   languages, and how dates and amounts are written      letters.py  an email of facts, texts and layout
    sending.py    an invoice as Stripe writes it → one email            cards.py    the page on which a card is changed
    delivery.py   a message that is due → the email service             silence.py  why a customer is not written to
    expiry.py     whether a card outlives its next renewal              preview.py  all of it to look at
    store.py      the SQL of silences and of warnings

The texts are in `services/worker/messages/templates/texts`, one file per language; the layout beside them, in MJML.
"""
