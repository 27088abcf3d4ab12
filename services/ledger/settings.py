"""The ledger's settings."""

from pydantic import Field

from shared.settings import Port, Settings


class LedgerSettings(Settings):
    """What every service needs, and the port."""

    ledger_port: Port = Field(8003, description="port of the ledger's API; 0 takes a free one")
