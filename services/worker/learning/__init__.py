"""Learning in the background: what merchants' recoveries say of their customers, kept in `learned_beliefs`.

    schedule   periodic work: who is looked at, and who has enough new recoveries for a task
    store      the SQL: what is read, what is kept

What the rows of a recovery's attempts say is in `services.worker.recovery.outcomes`. The task is
`handlers/learn_belief.py`; what a belief is and how it is learned, `services.worker.recovery.belief`.
"""
