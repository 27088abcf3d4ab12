"""The command `citadel`, and everything that runs at an operator's desk: one file per group of commands.

    __main__    the groups put together; the stack of this machine, and one service in this process
    database    what commands that talk to the database have in common

    local/      the services as processes of this machine, with an embedded PostgreSQL
    compose/    the services in containers
    demo/       the whole system through a month, against the simulator
    evaluation/ what a policy would do: on made-up failures, or on a merchant's own past

No service imports this, and nothing in `shared` does.
"""
