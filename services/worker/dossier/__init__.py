"""The dossier of a recovery: everything that is known about the recovery at one moment.

    dossier        the facts, and what follows from them
    story          the timeline as the dossier holds it
    store          reads a dossier, and writes what is kept of its reading
    attempt_store  writes and reads attempts
    permission     whether a call is still wanted, asked right before it
    next_message   when the next message to the customer is queued
    foresight      how it ends if nobody pays
    window         makes a recovery's window longer when nobody could act in it
    ending         the policy's end actions in words

Every handler of a recovery's tasks opens the dossier first, with the recovery locked.
"""
