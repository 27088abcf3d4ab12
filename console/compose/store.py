"""The SQL of the stack's logins, and of the owner's other preparations of a new database.

Names are ours and quoted by psycopg. A password reaches the server only as a SCRAM verifier made here: utility
statements are kept in `pg_stat_statements` and shown in logs as they were sent.
"""

from typing import LiteralString

import psycopg
from psycopg import sql

LOGIN_EXISTS: LiteralString = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)"
CREATE_LOGIN: LiteralString = "CREATE ROLE {login} LOGIN NOINHERIT PASSWORD {verifier}"
CHANGE_PASSWORD: LiteralString = "ALTER ROLE {login} PASSWORD {verifier}"  # noqa: S105 - a statement, not a password
# No role but its own, whatever was granted before. (Without INHERIT a login has none of its service's rights until it
# takes the service's role.)
GRANT_ROLE: LiteralString = "GRANT {role} TO {login}"
OTHER_ROLES: LiteralString = """
SELECT granted.rolname
FROM pg_auth_members
JOIN pg_roles AS granted ON granted.oid = roleid
JOIN pg_roles AS login ON login.oid = member
WHERE login.rolname = %s AND granted.rolname <> %s
"""
REVOKE_ROLE: LiteralString = "REVOKE {role} FROM {login}"

# By default every login may connect to every database of the server and make temporary tables there.
CLOSE_DATABASE: LiteralString = "REVOKE ALL ON DATABASE {database} FROM PUBLIC"
LET_CONNECT: LiteralString = "GRANT CONNECT ON DATABASE {database} TO {login}"
DATABASES: LiteralString = "SELECT datname FROM pg_database WHERE datallowconn"
CREATE_STATISTICS: LiteralString = "CREATE EXTENSION IF NOT EXISTS pg_stat_statements"


def close_to_the_public(owner: psycopg.Connection) -> None:
    """Revoke all connections to this server's databases, except for the owner and the logins of `make_login`."""
    for (name,) in owner.execute(DATABASES).fetchall():
        owner.execute(sql.SQL(CLOSE_DATABASE).format(database=sql.Identifier(name)))


def keep_statistics(owner: psycopg.Connection) -> None:
    """Make the server count statements (pg_stat_statements), for which it must have loaded the library."""
    owner.execute(CREATE_STATISTICS)


def make_login(owner: psycopg.Connection, login: str, role: str, password: str) -> None:
    """Create or change `login`: it may connect to this database and take `role` only, and has this password."""
    name = sql.Identifier(login)
    verifier = owner.pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256").decode()
    exists = owner.execute(LOGIN_EXISTS, (login,)).fetchone() == (True,)
    change = sql.SQL(CHANGE_PASSWORD if exists else CREATE_LOGIN)
    owner.execute(change.format(login=name, verifier=sql.Literal(verifier)))
    for (other,) in owner.execute(OTHER_ROLES, (login, role)).fetchall():
        owner.execute(sql.SQL(REVOKE_ROLE).format(role=sql.Identifier(other), login=name))
    owner.execute(sql.SQL(GRANT_ROLE).format(role=sql.Identifier(role), login=name))
    owner.execute(sql.SQL(LET_CONNECT).format(database=sql.Identifier(owner.info.dbname), login=name))
