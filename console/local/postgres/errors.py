"""The errors of the embedded server; the tree is in the package's docstring."""


class EmbeddedPostgresError(Exception):
    """The embedded server cannot do what was asked for; the message says why and what to do."""


class DataDirInUse(EmbeddedPostgresError):
    """Another live process owns the data folder; stop that one, or use another folder."""


class DataDirUnusable(EmbeddedPostgresError):
    """The data folder cannot hold this server's cluster; nothing in it was changed."""


class StartFailed(EmbeddedPostgresError):
    """initdb or postgres did not start. `log_tail` is the end of this start's log."""

    def __init__(self, message: str, log_tail: str) -> None:
        super().__init__(f"{message}\n--- end of the log ---\n{log_tail or '(it is empty)'}")
        self.log_tail = log_tail
