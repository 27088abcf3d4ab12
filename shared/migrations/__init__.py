"""The database's schema, step by step: Alembic revisions whose bodies are SQL files beside them.

`citadel migrate` runs `upgrade` and `downgrade`. `HEAD` is the revision that this code expects. `/readyz` compares it
with the database's revision; `serves` says whether that one is new enough.
"""

from shared.migrations.runner import HEAD, MigrationError, downgrade, serves, upgrade

__all__ = ["HEAD", "MigrationError", "downgrade", "serves", "upgrade"]
