"""The stack's secrets: one file each, in a folder that only its owner can enter.

    made here       the database's passwords, the encryption key, the state secret, a TLS certificate
    given by hand   what Stripe and Resend issue; until then the file is empty

Compose mounts each file into the containers that need it, with its owner and mode on this machine. The services run as
another user there, so the files are readable by all; the folder's mode keeps others out.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from console.compose.certificate import make_certificate
from console.compose.stack import Stack, StackError
from shared.crypto import KeyRing
from shared.database import Role

OWNER: Final = "citadel"
DATABASE: Final = "citadel"
HOST: Final = "postgres:5432"
_FOLDER_MODE, _FILE_MODE = 0o700, 0o644

LOGINS: Final[Mapping[str, Role]] = {f"{role.service}_database_url": role for role in Role}
"""The secret that holds a login's URL, and the role that the login may take."""


@dataclass(frozen=True, slots=True)
class Given:
    """A secret that somebody else issues: where to find it, and the value for the simulator."""

    where: str
    simulator: str
    needed: bool = True


GIVEN: Final[Mapping[str, Given]] = {
    "stripe_secret_key": Given("sk_live_… or sk_test_…: https://dashboard.stripe.com/apikeys", "sk_test_simulator"),
    "stripe_webhook_secrets": Given(
        "whsec_… of the webhook endpoint: https://dashboard.stripe.com/webhooks", "whsec_simulator"
    ),
    "resend_api_key": Given("re_…: https://resend.com/api-keys (without it emails are printed)", "re_simulator", False),
    "resend_webhook_secrets": Given(
        "whsec_… of Resend's webhook: https://resend.com/webhooks (without it nobody hears of bounces)",
        "whsec_dGhlIHNpbXVsYXRvciBvZiByZXNlbmQ=",
        False,
    ),
}

TLS: Final = ("tls_certificate", "tls_key")
TLS_AUTHORITY: Final = "tls_authority"


@dataclass(frozen=True, slots=True)
class Prepared:
    """The secrets that were made now, and the needed ones that are still empty, with where to find them."""

    made: tuple[str, ...]
    missing: Mapping[str, str]


def prepare(folder: Path, public_url: str, *, simulator: bool) -> Prepared:
    """Make every missing secret; existing ones are never changed.

    With `simulator` the given ones are the simulator's well-known keys. Raises OSError, and ValueError when only one of
    certificate and key exists.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(_FOLDER_MODE)
    made = [name for name, make in _MADE.items() if _keep_or_write(folder / name, make)]
    for name, given in GIVEN.items():
        if _keep_or_write(folder / name, partial(str, given.simulator if simulator else "")) and simulator:
            made.append(name)
    made += _certificate(folder, public_url)
    for file in folder.iterdir():
        if file.is_file() and file.stat().st_mode & 0o777 != _FILE_MODE:
            file.chmod(_FILE_MODE)
    missing = {name: each.where for name, each in GIVEN.items() if each.needed and not _content(folder / name)}
    return Prepared(tuple(made), missing)


class SecretsMissing(Exception):
    """Secrets that others issue are missing; the message lists them, with the files to write them to."""


def make_secrets(stack: Stack) -> Path:
    """Make the stack's missing secrets and print which; returns the folder. Raises SecretsMissing, StackError."""
    folder = stack.secrets
    try:
        prepared = prepare(folder, stack.public_url, simulator=stack.simulator)
    except (OSError, ValueError) as error:
        raise StackError(f"the secrets could not be made: {error}") from error
    if prepared.made:
        print(f"made in {folder}: {', '.join(prepared.made)}")
    if prepared.missing:
        lines = "\n".join(f"  {folder / name}: {where}" for name, where in prepared.missing.items())
        raise SecretsMissing(f"{len(prepared.missing)} secret(s) are missing; write each into its file:\n{lines}")
    return folder


def _url(login: str) -> str:
    return f"postgresql://{login}:{secrets.token_urlsafe(32)}@{HOST}/{DATABASE}"


_MADE: Final[Mapping[str, Callable[[], str]]] = {
    **{name: partial(_url, f"{role}_login") for name, role in LOGINS.items()},
    "owner_database_url": partial(_url, OWNER),
    "encryption_keys": lambda: f"k{secrets.token_hex(3)}:{KeyRing.generate()}",
    "state_secret": partial(secrets.token_urlsafe, 48),
    "unsubscribe_secrets": partial(secrets.token_urlsafe, 48),
}


def _keep_or_write(path: Path, make: Callable[[], str]) -> bool:
    """Whether the file had to be written."""
    if path.exists():
        return False
    _write(path, make())
    return True


def _write(path: Path, text: str) -> None:
    """Write the whole file or nothing: an interrupted start must not leave half a key for the next one."""
    unfinished = path.with_name(f".{path.name}")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    unfinished.write_text(f"{text}\n" if text else "")
    unfinished.chmod(_FILE_MODE)
    unfinished.rename(path)


def _content(path: Path) -> str:
    return path.read_text().strip()


def _certificate(folder: Path, public_url: str) -> list[str]:
    there = [name for name in TLS if (folder / name).exists()]
    if there == list(TLS):
        _keep_or_write(folder / TLS_AUTHORITY, lambda: "")
        return []
    if there:
        raise ValueError(f"{there[0]} is there without its other half: give both of {', '.join(TLS)}, or neither")
    host = urlsplit(public_url).hostname or "localhost"
    made = make_certificate((host, "localhost", "edge"))
    # The authority first and the certificate last: after an interruption all three are made again.
    (folder / TLS_AUTHORITY).unlink(missing_ok=True)
    _write(folder / TLS_AUTHORITY, made.authority)
    _write(folder / "tls_key", made.key)
    _write(folder / "tls_certificate", made.certificate)
    return [*TLS, TLS_AUTHORITY]
