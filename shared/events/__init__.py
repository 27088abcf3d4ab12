"""Stripe's events: what each means, and what is written for it.

    incoming   bytes that are an event, or not; the event without its payload
    routing    event → intent: pure, a table
    taking     an event's row and its effects, for one event, for many, or for a page of them
    effects    intent → effects: what is opened, ended, or looked at anew
    store      the SQL of both, and the order of locks

Two services take events: the ingress those that Stripe posts, the worker those that it fetches because they were not
delivered. Whichever comes first has the effect; the other finds the event's id, or the fact, there already.
"""
