"""The SQL of a local stack: the services' logins, and a database of its own on a given server.

Names are our own and quoted; passwords are random and quoted as literals, because utility statements take no
parameters.
"""

import secrets

import asyncpg

from shared.database import Role

LOGIN_EXISTS = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)"
CREATE_LOGIN = "CREATE ROLE {login} LOGIN NOINHERIT IN ROLE {role} PASSWORD {password}"
CHANGE_PASSWORD = "ALTER ROLE {login} PASSWORD {password}"  # noqa: S105 - a statement, not a password

CREATE_DATABASE = "CREATE DATABASE {name}"
DROP_DATABASE = "DROP DATABASE IF EXISTS {name} WITH (FORCE)"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    if "\\" in text:
        raise ValueError("a generated password has no backslash")
    return "'" + text.replace("'", "''") + "'"


async def make_login(owner_url: str, role: Role) -> tuple[str, str]:
    """Make a login that may take `role` only, with a new password; returns (name, password)."""
    login, password = f"{role}_login", secrets.token_urlsafe(24)
    connection = await asyncpg.connect(owner_url, timeout=10)
    try:
        statement = CHANGE_PASSWORD if await connection.fetchval(LOGIN_EXISTS, login) else CREATE_LOGIN
        names = {"login": _identifier(login), "role": _identifier(role), "password": _literal(password)}
        await connection.execute(statement.format(**names))
    finally:
        await connection.close()
    return login, password


async def create_database(server_url: str, name: str) -> None:
    """Create an empty database on the server behind `server_url`, whose login may create databases."""
    await _on(server_url, CREATE_DATABASE.format(name=_identifier(name)))


async def drop_database(server_url: str, name: str) -> None:
    """Drop the database, and end all connections to it."""
    await _on(server_url, DROP_DATABASE.format(name=_identifier(name)))


async def _on(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
