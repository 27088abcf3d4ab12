"""A login for each service, which can take the service's role and nothing else.

What a role may do is in migration 0010; the logins, their names and passwords come from the services' own URLs.
"""

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import psycopg

from console.compose import store
from shared.database import Role


class LoginsFailed(Exception):
    """The owner could not make the logins; the message says why, in a line."""


@dataclass(frozen=True, slots=True)
class Login:
    """Name and password from a service's URL, and the role that the login may take."""

    name: str
    password: str
    role: Role

    @classmethod
    def of(cls, url: str, role: Role) -> "Login":
        """From a service's URL. Raises ValueError when it has no name or no password."""
        parts = urlsplit(url)
        if not parts.username or not parts.password:
            raise ValueError(f"the URL for {role} has no user or no password")
        return cls(unquote(parts.username), unquote(parts.password), role)


def make_logins(owner_url: str, logins: list[Login]) -> None:
    """Make all logins with their passwords, in one transaction, after the migrations. A repeat changes nothing.

    A login that has the right password is not changed. Raises LoginsFailed.
    """
    try:
        with psycopg.connect(owner_url, connect_timeout=10) as owner:
            store.close_to_the_public(owner)
            store.keep_statistics(owner)
            for login in logins:
                store.make_login(owner, login.name, login.role, login.password)
    except psycopg.Error as error:
        raise LoginsFailed(f"the services' logins could not be made: {str(error).strip()}") from error
