"""The engine: claims tasks, runs each in two phases, ends many of them in one commit, and keeps the queue in order.

    loop        claims, and takes each task through its run
    reserve     how many tasks to claim in advance
    bell        wakes an idle worker: LISTEN/NOTIFY, for speed only
    run         one claimed task in this worker's hands
    loading     the first phase, several tasks in one transaction
    committing  how runs end, many in one commit
    quarantine  how many rescued tasks may run at a time
    janitor     rescues, retention, and recoveries that lost their task
    periodic    periodic work, done once however many workers run
    store       the SQL of these

What a task of a type does is in its handler (`services/worker/handlers`).
"""
