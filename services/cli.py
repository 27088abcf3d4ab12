"""The console command `citadel`.

    0  done        1  something is in the way, said in a line        2  wrong usage, or settings missing, all listed
    128 + n        ended by signal n

Each command imports what it runs when it runs: `citadel version` needs no Stripe, and production no simulator.
"""

import os
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import version as version_of
from typing import Annotated, NoReturn, TypeVar
from uuid import UUID

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from services.evaluation.backtest.command import backtest
from services.evaluation.cli import simulate
from services.local.command import DATA, DataDir, database_url, with_database
from services.local.interruption import Interrupted, run
from services.local.preflight import SettingsMissing
from services.local.process import LocalStackError
from services.policy_command import policy_app
from services.recovery_command import recovery_app
from services.report_command import report_app
from services.silences_command import silences_app
from services.tasks_cli import tasks_app
from services.worker.messages.command import emails_app
from shared.api_keys import Scope
from shared.database import AWAY, DatabaseAway, Role
from shared.embedded_postgres import EmbeddedPostgresError

T = TypeVar("T")
WRONG = 2

app = typer.Typer(
    help="The Citadel: recovers failed subscription renewals for platforms on Stripe Connect.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
keys_app = typer.Typer(help="API keys, and the keys that tokens are encrypted under.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")
app.add_typer(emails_app, name="emails")
app.command()(simulate)
app.command()(backtest)
app.add_typer(tasks_app, name="tasks")
app.add_typer(policy_app, name="policy")
app.add_typer(recovery_app, name="recovery")
app.add_typer(report_app, name="report")
app.add_typer(silences_app, name="silences")


def main() -> None:
    """The entry point: expected errors become one message and an exit status, never a traceback."""
    try:
        app()
    except SettingsMissing as error:
        _end(str(error), WRONG)
    except Interrupted as end:
        _end(str(end), end.status)
    except KeyboardInterrupt:
        _end("ended by SIGINT", 130)
    except (LocalStackError, EmbeddedPostgresError, DatabaseAway) as error:
        _end(str(error))
    except asyncpg.UndefinedTableError:
        _end("the database has no tables of ours: run `citadel migrate`")
    except asyncpg.PostgresError as error:
        _end(f"PostgreSQL refused: {error}")
    except AWAY as error:
        _end(f"no way to the network or the disk: {error}")


def _console() -> Console:
    """The terminal; in a pipe, lines as long as in a wide one."""
    return Console(width=None if sys.stdout.isatty() else 96)


def _end(message: str, status: int = 1) -> NoReturn:
    print(f"citadel: {message}", file=sys.stderr)
    sys.exit(status)


# -- the stack of this machine -------------------------------------------------------------------


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running, and say where to look.")] = False,
    small: Annotated[bool, typer.Option("--small", help="3 merchants, 20 subscriptions each, 10 days.")] = False,
    seed: Annotated[int, typer.Option(help="Another seed tells another story.")] = 7,
    merchants: Annotated[int | None, typer.Option(min=1, max=200, help="Merchants that connect.")] = None,
    subscriptions: Annotated[int | None, typer.Option(min=1, max=1000, help="Subscriptions of each.")] = None,
    days: Annotated[int | None, typer.Option(min=1, max=120, help="Days that pass.")] = None,
    target: Annotated[str, typer.Option(help="local, or compose: the stack of `make up SIMULATOR=1`.")] = "local",
    data_dir: DataDir = DATA,
) -> None:
    """The whole system against a simulated Stripe: 2,000 renewals, 30 days, three checks. Needs no settings."""
    from services.demo.runner import DemoFailed, Where, run_demo
    from services.demo.story import Story

    if target not in set(Where):
        raise typer.BadParameter(f"expected {' or '.join(Where)}, not {target!r}", param_hint="--target")
    story = Story.small() if small else Story()
    asked = {"merchants": merchants, "subscriptions": subscriptions, "days": days}
    chosen = {name: value for name, value in asked.items() if value is not None}
    # Only a variable that was set on purpose: a `.env` beside us is about the real thing.
    url = os.environ.get("CITADEL_DATABASE_URL") or None
    try:
        holds = run(
            run_demo(
                story.changed(seed=seed, **chosen),
                Where(target),
                data_dir.absolute() / "demo",
                url,
                _console(),
                keep=keep,
            )
        )
    except DemoFailed as error:
        _end(str(error))
    if not holds:
        _end("a check of the demo failed")


@app.command()
def up(
    workers: Annotated[int, typer.Option(min=1, max=32, help="Worker processes.")] = 1,
    data_dir: DataDir = DATA,
) -> None:
    """Run the four services on this machine until Ctrl-C, with an embedded PostgreSQL unless a database is given."""
    from services.local import up as local_up

    local_up.refuse_wrong_settings()
    try:
        run(local_up.up(local_up.UpOptions(data_dir.absolute(), workers), Console()))
    except Interrupted:
        print("stopped")  # the way in which it is meant to end


@app.command()
def migrate(
    to: Annotated[str, typer.Option(help="Revision to go up to; by default the newest.")] = "head",
    data_dir: DataDir = DATA,
) -> None:
    """Bring the database's schema up to date. Repeating it changes nothing."""
    from alembic.util import CommandError

    from services.local.stack import migrated
    from shared.migrations import HEAD

    try:
        migrated(database_url(data_dir), to)
    except CommandError as error:
        _end(f"there is no way up to revision {to!r}: {error}", WRONG)
    print(f"the schema is at {HEAD if to == 'head' else to}")


# -- one service in this process -----------------------------------------------------------------


def _become(module: str, *arguments: str) -> NoReturn:
    """This process becomes `python -m module`: signals reach the service itself."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 - our own modules, no shell


@app.command()
def ingress() -> None:
    """Run the ingress, which takes Stripe's events in."""
    _become("services.ingress")


@app.command()
def worker() -> None:
    """Run one worker, which does the work."""
    _become("services.worker")


@app.command()
def auth() -> None:
    """Run auth, where merchants connect."""
    _become("services.auth")


@app.command()
def ledger() -> None:
    """Run the ledger, which serves the API."""
    _become("services.ledger")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def simulator(context: typer.Context) -> None:
    """Run the simulator of Stripe and Resend; `citadel simulator --help` says with what."""
    _become("simulator", *context.args)


@app.command()
def version() -> None:
    """Print the version of the code and of the schema that it expects."""
    from shared.migrations import HEAD

    print(f"citadel {version_of('citadel')}, schema {HEAD}")


# -- keys ----------------------------------------------------------------------------------------


@keys_app.command("create")
def keys_create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Annotated[list[Scope] | None, typer.Option(help="What it may do; several times. By default: read.")] = None,
    merchant: Annotated[str | None, typer.Option(help="The merchant it belongs to; by default the platform.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Days until it expires; by default never.")] = None,
    data_dir: DataDir = DATA,
) -> None:
    """Make a key for the ledger's API. Its secret is printed once, and is nowhere else."""
    from services.auth.keys import KeyRefused, create_key

    scopes = scope or [each for each in Scope if each.endswith(":read")]
    expires = datetime.now(UTC) + timedelta(days=days) if days else None
    try:
        made = with_database(
            data_dir, Role.AUTH, lambda database: create_key(database, name, scopes, merchant, expires)
        )
    except KeyRefused as error:
        _end(str(error), WRONG)
    print(f"key {made[0]} ({', '.join(scopes)}); keep its secret, it is not shown again:", file=sys.stderr)
    print(made[1])


@keys_app.command("list")
def keys_list(data_dir: DataDir = DATA) -> None:
    """List all keys, with the revoked and the expired ones."""
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
    # In a pipe a line is a key, however long it is.
    Console(width=None if sys.stdout.isatty() else 250).print(table)


@keys_app.command("revoke")
def keys_revoke(
    key: Annotated[UUID, typer.Argument(help="The key's id, from `citadel keys list`.")], data_dir: DataDir = DATA
) -> None:
    """End a key at once."""
    from services.auth.keys import revoke_key

    if not with_database(data_dir, Role.AUTH, lambda database: revoke_key(database, key)):
        _end(f"there is no key {key}, or it was revoked before")
    print(f"key {key} is revoked")


@keys_app.command("rotate")
def keys_rotate(data_dir: DataDir = DATA) -> None:
    """Encrypt all tokens anew under the first key of CITADEL_ENCRYPTION_KEYS. Services may go on meanwhile."""
    from services.auth.tokens import RotationIncomplete, reencrypt_tokens
    from services.local.preflight import key_ring

    ring = key_ring()
    try:
        count = with_database(data_dir, Role.AUTH, lambda database: reencrypt_tokens(database, ring))
    except RotationIncomplete as error:
        _end(str(error))
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
    """Make all secrets of the stack in containers for a first start; those that are there stay as they are."""
    from services.compose.secrets import SecretsMissing, make_secrets
    from services.compose.stack import Stack, StackError

    try:
        folder = make_secrets(Stack.here(simulator=simulator))
    except SecretsMissing as error:
        _end(str(error), WRONG)
    except StackError as error:
        _end(str(error))
    print(f"every secret is in {folder}")


if __name__ == "__main__":
    main()
