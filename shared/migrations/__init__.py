"""The database's schema, step by step: Alembic revisions whose bodies are SQL files beside them.

`upgrade` and `downgrade` are what `citadel migrate` runs; `HEAD` is the revision that this code expects, which
`/readyz` compares with the database's: `serves` says whether that one will do.
"""

from shared.migrations.runner import HEAD, MigrationError, downgrade, serves, upgrade

__all__ = ["HEAD", "MigrationError", "downgrade", "serves", "upgrade"]
