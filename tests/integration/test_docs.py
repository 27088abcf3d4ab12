"""The documents say what the system does."""

import re
from pathlib import Path

from shared.database import Database, Role

ARCHITECTURE = Path(__file__).parents[2] / "docs" / "architecture.md"

GRANTS = """
SELECT table_name, grantee, privilege_type
FROM information_schema.role_column_grants
WHERE table_schema = 'public' AND grantee = ANY($1)
UNION
SELECT table_name, grantee, privilege_type
FROM information_schema.role_table_grants
WHERE table_schema = 'public' AND grantee = ANY($1)
"""
LETTERS = {"SELECT": "r", "INSERT": "i", "UPDATE": "u", "DELETE": "d"}


def documented() -> dict[str, dict[str, str]]:
    """table → role → letters, from the table in docs/architecture.md."""
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|", ARCHITECTURE.read_text(), re.MULTILINE)
    return {
        table: {role: cell.strip() for role, cell in zip(Role, cells, strict=True) if cell.strip()}
        for table, *cells in rows
    }


async def test_the_table_of_who_reads_and_writes_is_what_the_database_grants(database: Database) -> None:
    granted: dict[str, dict[str, str]] = {}
    async with database.transaction() as db:
        for row in await db.fetch(GRANTS, list(Role)):
            if row["table_name"] in {"alembic_version", "test_clock"}:
                continue  # every service reads these two, none writes them
            roles = granted.setdefault(row["table_name"], {})
            roles[row["grantee"]] = roles.get(row["grantee"], "") + LETTERS[row["privilege_type"]]
    in_order = {
        table: {role: "".join(sorted(letters, key="riud".index)) for role, letters in roles.items()}
        for table, roles in granted.items()
    }
    assert documented() == in_order
