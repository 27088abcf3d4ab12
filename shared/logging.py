"""Logs: one line per event, JSON in production, never a customer's data and never a secret.

`bind(merchant_id=…)` binds ids once for everything that is logged in the current task. A processor drops fields whose
name says that they hold personal data or a secret, and masks what looks like one inside any text.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import orjson
import structlog

_DROPPED_FIELDS = re.compile(
    r"(^|_)(email|e_mail|name|first_name|last_name|phone|address|street|city|postal_code|zip|iban|card_number|cvc|"
    r"password|secret|token|authorization|cookie|api_key|body|payload)$"
)
_KEPT_FIELDS = frozenset({"logger_name", "worker_name"})
_MASKED_TEXT = re.compile(
    r"[\w.+-]+@[\w-]+(\.[\w-]+)+"  # an email address
    r"|\b(sk|rk|pk)_(live|test)_\w+|\bwhsec_\w+|\bre_[A-Za-z0-9]{8,}_\w+|\bctdl_\w+"  # keys
    r"|(?i:bearer\s+)\S+"
    r"|\b(?:\d[ -]?){13,19}\b"  # a card number
)

bind = structlog.contextvars.bind_contextvars
bound = structlog.contextvars.bound_contextvars


def _clean(value: Any) -> Any:
    match value:
        case str():
            return _MASKED_TEXT.sub("[masked]", value)
        case dict():
            return {key: _clean(item) for key, item in value.items() if _kept(str(key))}
        case list() | tuple():
            return [_clean(item) for item in value]
        case _:
            return value


def _kept(field: str) -> bool:
    return field in _KEPT_FIELDS or not _DROPPED_FIELDS.search(field.lower())


def drop_personal_data(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The last processor before a line is written: nothing that looks like PII or a secret passes it."""
    return {key: _clean(value) for key, value in event.items() if _kept(key)}


def configure(service: str, format_: Literal["json", "console"] = "json", level: str = "INFO") -> None:
    """Send structlog and the standard library's logging to stdout as single lines, both cleaned."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        lambda _logger, _method, event: {"service": service, **event},
        structlog.processors.format_exc_info,
        drop_personal_data,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(serializer=lambda event, **_: orjson.dumps(event, default=str).decode())
        if format_ == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
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
