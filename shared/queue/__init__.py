"""The queue: rows of `scheduled_tasks`, and the statements that move them.

    tasks     a task's life: queued, claimed, ended, rescued
    tries     how often a task of a type is tried before it goes to the dead letters
    lanes     how claims find what is due without walking over what is not
    limits    how many tasks of a merchant, and in all, may run at a time
    control   an operator's hand: pause, resume, cancel, retry by filter

Who claims is the worker's engine (`services/worker/engine`).
"""
