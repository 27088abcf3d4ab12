"""Stripe's events: what each means, and what is written for it.

    incoming   bytes that are an event, or not; the event without its payload
    intents    what an event asks for
    routing    event → intent: pure, a table; refunds_and_disputes are its rules about money that goes back
    fields     reads single fields of Stripe's JSON
    taking     an event's row and its effects, for one event, for many, or for a page of a list
    effects    intent → effects: recoveries are opened, ended, or evaluated again
    known      what is known of an invoice by now, from its recovery's timeline and before there is one
    store      the SQL of taking and effects, and the order of locks

Two services take events: the ingress those that Stripe delivers, the worker those that it fetches because they were not
delivered. The first delivery has the effect; a second one finds the event's id, or the fact, already recorded.
"""
