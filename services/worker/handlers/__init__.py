"""The handlers: one file per task type. Every module of this folder is found and imported."""

import importlib
import pkgutil

from services.worker.handler import Handlers, registered


def discover() -> Handlers:
    """Import every module of this package; returns the handlers by task type."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return registered()
