"""The engine: claims tasks, runs each in two phases, ends many in one commit, and keeps the queue in order.

    loop        claims, and takes each task through its run
    reserve     how many tasks to claim in advance
    bell        hears that there is work: LISTEN, as a hint
    run         one claimed task in this worker's hands
    loading     the first phase, several tasks in one transaction
    committing  how runs end, many in one commit
    quarantine  tasks that were in the hands of a worker when it died
    janitor     rescues, retention, and work that lost its task
    periodic    work that is done now and then, once however many workers run
    store       their SQL

What a task type does is its handler's (`services/worker/handlers`).
"""
