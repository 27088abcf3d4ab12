"""Messages to customers and merchants: which one, in which language, in whose colours, with which link.

    campaign  the messages, and which of them is due           brand     a merchant's name and colour
    turns     whose turn it is to write to a customer          language  languages, and how days and sums are written
    drafting  what a message about one invoice says            letters   an email from facts, texts and layout
    sending   Stripe's invoices → one email                    delivery  a due message → the email service
    cards     the page on which a card is changed              preview   all messages, to look at
    expiry    whether a card expires before its next renewal   store     the SQL of turns and card warnings
    after_end thanks, and the news of an end

The texts are in `services/worker/messages/templates/texts`, one file per language; the layout beside them, in MJML.
"""
