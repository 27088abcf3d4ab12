"""The server's user, host and default configuration."""

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
        # No personal data in the log: statements, parameters, the DETAIL line ("Key (email)=(…)
        # already exists") and an ERROR's text can contain it; the client gets the error anyway. `log`
        # ranks above `error`, so start, stop, crashes and refused logins are still logged.
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
