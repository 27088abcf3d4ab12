"""`citadel keys`: API keys, and the keys that tokens are encrypted under."""

import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import typer
from rich.table import Table

from console.database import DATA, DataDir, merchant_id_of, with_database
from console.terminal import refuse, terminal
from shared.api_keys import Scope
from shared.database import Database, Role

keys_app = typer.Typer(help="API keys, and the keys that tokens are encrypted under.", no_args_is_help=True)


@keys_app.command("create")
def keys_create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Annotated[list[Scope] | None, typer.Option(help="What it may do; several times. By default: read.")] = None,
    merchant: Annotated[
        str | None, typer.Option(help="The merchant it belongs to, acct_… or our id; by default the platform.")
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Days until it expires; by default never.")] = None,
    data_dir: DataDir = DATA,
) -> None:
    """Make a key for the ledger's API. Its secret is printed once and not stored."""
    from services.auth.keys import KeyRefused, create_key

    scopes = scope or [each for each in Scope if each.endswith(":read")]
    expires = datetime.now(UTC) + timedelta(days=days) if days else None

    async def make(database: Database) -> tuple[UUID, str]:
        owner = merchant
        if merchant is not None and merchant.startswith("acct_"):
            async with database.transaction() as db:
                owner = await merchant_id_of(db, merchant)
        return await create_key(database, name, scopes, owner, expires)

    try:
        made = with_database(data_dir, Role.AUTH, make)
    except LookupError as error:
        refuse(str(error))
    except KeyRefused as error:
        refuse(str(error))
    print(f"key {made[0]} ({', '.join(scopes)}); keep its secret, it is not shown again:", file=sys.stderr)
    print(made[1])


@keys_app.command("list")
def keys_list(data_dir: DataDir = DATA) -> None:
    """List all keys, including revoked and expired ones."""
    from services.auth.keys import list_keys

    table = Table("id", "name", "of", "scopes", "made", "expires", "last used", "state", box=None, pad_edge=False)
    now = datetime.now(UTC)
    for key in with_database(data_dir, Role.AUTH, list_keys):
        expired = key.expires_at is not None and key.expires_at <= now
        table.add_row(
            str(key.id),
            key.name,
            key.merchant_id or "the platform",
            " ".join(key.scopes),
            *(f"{at:%Y-%m-%d}" if at else "-" for at in (key.created_at, key.expires_at, key.last_used_at)),
            "revoked" if key.revoked_at else "expired" if expired else "valid",
        )
    # In a pipe each key is one line, however long.
    terminal(250).print(table)


@keys_app.command("revoke")
def keys_revoke(
    key: Annotated[UUID, typer.Argument(help="The key's id, from `citadel keys list`.")], data_dir: DataDir = DATA
) -> None:
    """Revoke a key at once."""
    from services.auth.keys import revoke_key

    if not with_database(data_dir, Role.AUTH, lambda database: revoke_key(database, key)):
        refuse(f"there is no key {key}, or it was revoked before", 1)
    print(f"key {key} is revoked")


@keys_app.command("rotate")
def keys_rotate(data_dir: DataDir = DATA) -> None:
    """Encrypt all tokens again under the first key of CITADEL_ENCRYPTION_KEYS. Services may keep running."""
    from console.local.preflight import key_ring
    from services.auth.tokens import RotationIncomplete, reencrypt_tokens

    ring = key_ring()
    try:
        count = with_database(data_dir, Role.AUTH, lambda database: reencrypt_tokens(database, ring))
    except RotationIncomplete as error:
        refuse(str(error), 1)
    print(f"{count} tokens encrypted anew; every token is under the first key now, and the others may go")


@keys_app.command("generate")
def keys_generate() -> None:
    """Print a new encryption key, state secret and unsubscribe secret, as lines for `.env`."""
    import secrets

    from shared.crypto import KeyRing

    made = f"k{secrets.token_hex(3)}"
    print("# To rotate the encryption key: put the new one in front of the old, separated by a comma, restart auth,")
    print("# run `citadel keys rotate`, then drop the old one.")
    print(f"CITADEL_ENCRYPTION_KEYS={made}:{KeyRing.generate()}")
    print(f"CITADEL_STATE_SECRET={secrets.token_urlsafe(48)}")
    print(f"CITADEL_UNSUBSCRIBE_SECRETS={secrets.token_urlsafe(48)}")


@keys_app.command("init")
def keys_init(
    simulator: Annotated[bool, typer.Option("--simulator", help="For the stack with the simulator.")] = False,
) -> None:
    """Make all missing secrets of the stack in containers; existing ones are not changed."""
    from console.compose.secrets import SecretsMissing, make_secrets
    from console.compose.stack import Stack, StackError

    try:
        folder = make_secrets(Stack.here(simulator=simulator))
    except SecretsMissing as error:
        refuse(str(error))
    except StackError as error:
        refuse(str(error), 1)
    print(f"every secret is in {folder}")
