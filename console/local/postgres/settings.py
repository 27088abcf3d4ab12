"""Who and where the server is, and how it is configured unless the caller says otherwise."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

SUPERUSER: Final = "citadel"
DATABASE: Final = "citadel"
HOST: Final = "127.0.0.1"

DEFAULT_SETTINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "shared_buffers": "128MB",
        "max_connections": "100",
        "timezone": "UTC",
        "log_timezone": "UTC",
        # No personal data in the log: statements, parameters and the DETAIL line ("Key (email)=(…)
        # already exists") can hold it, and so can an ERROR's text, which the client gets anyway.
        # `log` ranks above `error`: start, stop, crashes and refused logins stay visible.
        "log_min_messages": "log",
        "log_error_verbosity": "terse",
        "log_statement": "none",
        "log_min_error_statement": "panic",
        "log_parameter_max_length": "0",
        "log_parameter_max_length_on_error": "0",
    }
)
FAST_SETTINGS: Final[Mapping[str, str]] = MappingProxyType(
    {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
)
NO_SETTINGS: Final[Mapping[str, str]] = MappingProxyType({})
