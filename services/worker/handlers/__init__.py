"""The task types: one file each, found by being here."""

import importlib
import pkgutil

from services.worker.handler import Handlers, registered


def discover() -> Handlers:
    """Import every module of this package; the handlers by task type."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return registered()
