"""The command `citadel`, and what runs on an operator's machine: one file per group of commands.

    __main__    all commands put together; also `demo`, `up`, `migrate`, and single services
    database    what commands that use the database share
    terminal    how commands print, read files and refuse
    keys, policy, recovery, report, silences, tasks, emails, simulate, backtest: one group of commands each

    local/      the services as processes of this machine, with an embedded PostgreSQL
    compose/    the services in containers
    demo/       the whole system through a month, against the simulator
    evaluation/ what a policy would do: on made-up failures, or on a merchant's own past

Neither services nor `shared` import this.
"""
