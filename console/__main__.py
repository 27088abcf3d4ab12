"""The console command `citadel`.

    0  done        1  it cannot be done, with a line that says why      2  wrong usage, or missing settings, all listed
    128 + n        ended by signal n

Each command imports its modules when it runs: `citadel version` needs no Stripe SDK, and production no simulator.
"""

import os
import sys
from importlib import import_module
from importlib.metadata import version as version_of
from typing import Annotated, NoReturn

import asyncpg
import typer

from console.backtest import backtest
from console.bound import bound
from console.database import DATA, DataDir, database_url
from console.emails import emails_app
from console.keys import keys_app
from console.learning import learning_app
from console.leave_alone import leave_alone_app
from console.ledger import ledger_app
from console.local.interruption import Interrupted, run
from console.local.postgres import EmbeddedPostgresError
from console.local.preflight import SettingsMissing
from console.local.process import LocalStackError
from console.policy import policy_app
from console.recovery import recovery_app
from console.report import report_app
from console.silences import silences_app
from console.simulate import simulate
from console.tasks import tasks_app
from console.terminal import refuse, terminal
from shared.database import AWAY, DatabaseAway, Role

app = typer.Typer(
    help="The Citadel: recovers failed subscription renewals for platforms on Stripe Connect.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(keys_app, name="keys")
app.add_typer(emails_app, name="emails")
app.command()(simulate)
app.command()(backtest)
app.command()(bound)
app.add_typer(tasks_app, name="tasks")
app.add_typer(policy_app, name="policy")
app.add_typer(recovery_app, name="recovery")
app.add_typer(report_app, name="report")
app.add_typer(ledger_app, name="ledger")
app.add_typer(silences_app, name="silences")
app.add_typer(leave_alone_app, name="leave-alone")
app.add_typer(learning_app, name="learning")


def main() -> None:
    """The entry point: expected errors become one message and an exit status, never a traceback."""
    try:
        app()
    except SettingsMissing as error:
        refuse(str(error))
    except Interrupted as end:
        refuse(str(end), end.status)
    except KeyboardInterrupt:
        refuse("ended by SIGINT", 130)
    except (LocalStackError, EmbeddedPostgresError, DatabaseAway) as error:
        refuse(str(error), 1)
    except asyncpg.UndefinedTableError:
        refuse("the database has no tables of ours: run `citadel migrate`", 1)
    except asyncpg.PostgresError as error:
        refuse(f"PostgreSQL refused: {error}", 1)
    except AWAY as error:
        refuse(f"no way to the network or the disk: {error}", 1)


# -- the stack of this machine -------------------------------------------------------------------


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running, and say where to look.")] = False,
    small: Annotated[bool, typer.Option("--small", help="3 merchants, 20 subscriptions each, 20 days.")] = False,
    seed: Annotated[int, typer.Option(help="Another seed tells another story.")] = 7,
    merchants: Annotated[int | None, typer.Option(min=1, max=200, help="Merchants that connect.")] = None,
    subscriptions: Annotated[int | None, typer.Option(min=1, max=1000, help="Subscriptions of each.")] = None,
    days: Annotated[int | None, typer.Option(min=1, max=120, help="Days that pass.")] = None,
    target: Annotated[str, typer.Option(help="local, or compose: the stack of `make up SIMULATOR=1`.")] = "local",
    data_dir: DataDir = DATA,
) -> None:
    """The whole system against a simulated Stripe: 2,000 renewals, 30 days, three checks. Needs no settings."""
    from console.demo.runner import DemoFailed, Where, run_demo
    from console.demo.story import Story

    if target not in set(Where):
        raise typer.BadParameter(f"expected {' or '.join(Where)}, not {target!r}", param_hint="--target")
    story = Story.small() if small else Story()
    asked = {"merchants": merchants, "subscriptions": subscriptions, "days": days}
    chosen = {name: value for name, value in asked.items() if value is not None}
    # Only from the environment: a `.env` in this folder is for the real system.
    url = os.environ.get("CITADEL_DATABASE_URL") or None
    try:
        holds = run(
            run_demo(
                story.changed(seed=seed, **chosen),
                Where(target),
                data_dir.absolute() / "demo",
                url,
                terminal(),
                keep=keep,
            )
        )
    except DemoFailed as error:
        refuse(str(error), 1)
    if not holds:
        refuse("a check of the demo failed", 1)


@app.command()
def up(
    workers: Annotated[int, typer.Option(min=1, max=32, help="Worker processes.")] = 1,
    data_dir: DataDir = DATA,
) -> None:
    """Run the four services on this machine until Ctrl-C, with an embedded PostgreSQL unless a database is given."""
    from console.local import up as local_up

    local_up.refuse_wrong_settings()
    try:
        run(local_up.up(local_up.UpOptions(data_dir.absolute(), workers), terminal()))
    except Interrupted:
        print("stopped")  # the normal end


@app.command()
def migrate(
    to: Annotated[str, typer.Option(help="Revision to go up to; by default the newest.")] = "head",
    data_dir: DataDir = DATA,
) -> None:
    """Bring the database's schema up to date. Repeating it changes nothing."""
    from alembic.util import CommandError

    from console.local.stack import migrated
    from shared.migrations import HEAD

    try:
        migrated(database_url(data_dir), to)
    except CommandError as error:
        refuse(f"there is no way up to revision {to!r}: {error}")
    print(f"the schema is at {HEAD if to == 'head' else to}")


# -- one service in this process -----------------------------------------------------------------


def _become(module: str, *arguments: str) -> NoReturn:
    """This process becomes `python -m module`: signals reach the service itself."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 - our own modules, no shell


def _add_service(role: Role) -> None:
    """`citadel <service>`: one service, in this process."""
    package = f"services.{role.service}"
    told = f"Run a service. {import_module(package).__doc__}"
    if role is Role.LEDGER:  # the name of a group, too
        told = f"{told} With a command: that."

        @ledger_app.callback(invoke_without_command=True, help=told)
        def _(context: typer.Context) -> None:
            if context.invoked_subcommand is None:
                _become(package)

        return

    @app.command(role.service, help=told)
    def _() -> None:
        _become(package)


for _role in Role:
    _add_service(_role)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def simulator(context: typer.Context) -> None:
    """Run the simulator of Stripe and Resend; `citadel simulator --help` says with what."""
    _become("simulator", *context.args)


@app.command()
def version() -> None:
    """Print the version of the code and of the schema that it expects."""
    from shared.migrations import HEAD

    print(f"citadel {version_of('citadel')}, schema {HEAD}")


if __name__ == "__main__":
    main()
