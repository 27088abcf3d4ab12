"""The dossier of a recovery: all that is known about it at one moment.

    dossier       the facts, and what can be read off them
    store         reads it, and writes its attempts
    permission    is it still wanted? asked right before a call
    next_message  when the next message to the customer is queued
    ending        the policy's end actions in words

Every handler that is about a recovery opens it first, with the recovery locked.
"""
