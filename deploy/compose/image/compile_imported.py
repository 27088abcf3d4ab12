"""Compiles what the services import, and only that: half of the packages is never imported, and their bytecode would
make a fifth of the image. Usage: compile_imported.py SITE_PACKAGES

The bytecode is not checked against its source again: the file system that it is on is read-only.
"""

import importlib
import py_compile
import sys
from pathlib import Path

from shared.database import Role

packages = Path(sys.argv[1]).resolve()
STARTED = ["console.__main__", "console.compose.__main__", "console.compose.logins", "shared.migrations", "uvloop"]

for name in [*STARTED, *(f"services.{role.service}.__main__" for role in Role)]:
    importlib.import_module(name)
ours = [path for top in ("console", "services", "shared") for path in (packages / top).rglob("*.py")]
imported = [Path(module.__file__) for module in list(sys.modules.values()) if getattr(module, "__file__", None)]
for path in {*ours, *imported}:
    if path.suffix == ".py" and path.is_relative_to(packages):
        py_compile.compile(str(path), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
