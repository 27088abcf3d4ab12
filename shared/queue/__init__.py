"""The queue: rows of `scheduled_tasks`, and the statements that move them.

    tasks     a task's life: queued, claimed, ended, rescued
    queued    what is queued: found, brought forward, canceled by its key, recovery or merchant
    tries     how often a task of a type is tried before it goes to the dead letters
    lanes     how claims find due tasks without walking over others
    limits    how many tasks of a merchant, and in all, may run at a time
    control   an operator's commands: pause, resume, cancel, retry by filter

Tasks are claimed by the worker's engine (`services/worker/engine`).
"""
