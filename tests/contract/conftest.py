"""The worker's world for the contract tests, too."""

from tests.integration.worker.conftest import world

__all__ = ["world"]
