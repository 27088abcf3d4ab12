"""Logs: one line per event, JSON in production, never a customer's data and never a secret.

`bind(merchant_id=…)` binds ids once for everything that is logged in the current task. A processor drops fields whose
name says that they hold personal data or a secret, and masks what looks like one inside any text.
"""

import logging
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from contextvars import ContextVar
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from pathlib import PurePath
from typing import Any, Literal
from uuid import UUID

import orjson
import structlog

_DROPPED_FIELDS = re.compile(
    r"(^|_)((email|e_mail|name|first_name|last_name|phone|address|street|iban|password|secret|token|cookie)s?|"
    r"line1|line2|city|postal_code|zip|ip|card_number|cvc|authorization|api_key|secret_key|body|payload|headers|query)$"
)
_KEPT_FIELDS = frozenset({"logger_name", "worker_name"})
_MASKED_TEXT = re.compile(
    r"(?P<kept>\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b)"  # a uuid may look like a card number
    r"|(?<=://)[^\s/@]*:[^\s/@]*@"  # a login in a URL
    r"|[\w.!#$%&'*+/=?^`{|}~-]{1,64}(?:@|%40)[\w-]+(\.[\w-]+)+"  # an email address (RFC 5322's atoms)
    r"|\b(sk|rk|pk)_(live|test)_\w+|\bwhsec_\w+|\bre_[A-Za-z0-9]{8,}_\w+|\bctdl_[\w-]+"  # keys
    r"|\b(ac|rt)_[A-Za-z0-9]{8,}|\b\w+_secret_\w+"  # OAuth codes and refresh tokens, client secrets
    r"|(?i:bearer\s+)\S+"
    r"|\b(?:\d[ -]?){13,19}\b"  # a card number
)

_subject: ContextVar[Callable[[], Mapping[str, str]] | None] = ContextVar("subject", default=None)

bind = structlog.contextvars.bind_contextvars
bound = structlog.contextvars.bound_contextvars


def speaking_of(ids: Callable[[], Mapping[str, str]]) -> None:
    """Add what `ids()` gives to every later line of this asyncio task; it is called only when a line is written."""
    _subject.set(ids)


def _with_subject(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    ids = _subject.get()
    return event if ids is None else {**ids(), **event}


def _mask(text: str) -> str:
    text = text.encode(errors="replace").decode()  # a header may hold bytes that JSON cannot
    return _MASKED_TEXT.sub(lambda found: found["kept"] or "[masked]", text)


def _clean(value: Any) -> Any:
    match value:
        case None | bool() | int() | float() | UUID() | date():
            return value
        case str() | timedelta() | Decimal() | PurePath():
            return _mask(str(value))
        case Mapping():
            return {_mask(str(key)): _clean(item) for key, item in value.items() if _kept(str(key))}
        case list() | tuple() | set() | frozenset():
            return [_clean(item) for item in value]
        case BaseException():
            return _mask(f"{type(value).__name__}: {value}")
        case _:
            # The names of its fields were not checked, and its text may contain all of them.
            return f"<{type(value).__name__}>"


@lru_cache(maxsize=1024)  # there are few names of fields, and every line has a dozen
def _kept(field: str) -> bool:
    return field in _KEPT_FIELDS or not _DROPPED_FIELDS.search(field.lower())


# What structlog passes from the standard library's logging to its own formatter; never part of a line.
_INTERNAL = frozenset({"_record", "_from_structlog"})


def drop_personal_data(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The last processor before a line is written: removes everything that looks like PII or a secret.

    An object that is neither a plain value nor a collection of them is logged as its type's name only.
    """
    return {key: value if key in _INTERNAL else _clean(value) for key, value in event.items() if _kept(key)}


class _Stdout:
    """What structlog writes with: one line to the present stdout."""

    __slots__ = ()

    def __init__(self, *_names: str) -> None:
        """structlog gives the arguments of `get_logger`, of which there are none."""

    def msg(self, line: str) -> None:
        """One write per line, so that lines of several threads do not mix."""
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    log = debug = info = warning = error = critical = exception = fatal = msg


def configure(service: str, format_: Literal["json", "console"] = "json", level: str = "INFO") -> None:
    """Send structlog and the standard library's logging to stdout as single lines, both cleaned."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _with_subject,
        structlog.processors.format_exc_info,
        drop_personal_data,
        # The values that we add ourselves need no cleaning.
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        lambda _logger, _method, event: {"service": service, **event},
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(serializer=lambda event, **_: orjson.dumps(event, default=str).decode())
        if format_ == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
    )
    # Our own lines go straight to stdout: going through the standard library would double the cost of a line.
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_Stdout,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("stripe").setLevel("WARNING")


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of one module."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(logger_name=name)
    return logger
