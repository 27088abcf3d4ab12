"""`python -m console.compose`: what `make up` and the container `migrate` run; see the package's docstring.

0  done        1  it cannot be done, with a line that says why      2  wrong usage, settings or secrets missing
"""

from typing import Annotated, Any

import typer
from pydantic import Field, create_model

from console.compose.announce import announcement
from console.compose.secrets import LOGINS, SecretsMissing, make_secrets
from console.compose.stack import SettingsMissing, Stack, StackError
from console.terminal import refuse
from shared.settings import PostgresUrl, SettingsFromAnywhere, load

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


Simulated = Annotated[bool, typer.Option("--simulator", help="With the simulator in place of Stripe and Resend.")]


@app.command()
def up(simulator: Simulated = False) -> None:
    """Build and start the stack, wait until it is healthy, and say where it is. Repeating it changes nothing."""
    stack = Stack.here(simulator=simulator)
    try:
        stack.refuse_without_engine()
        stack.refuse_missing_settings()
        make_secrets(stack)
        stack.refuse_taken_ports()
        print("building the images …", flush=True)
        stack.build()
        stack.up()
    except (SettingsMissing, SecretsMissing) as error:
        refuse(str(error), 2)
    except StackError as error:
        refuse(str(error), 1)
    simulated_at = f"http://localhost:{stack.simulator_port}" if simulator else None
    print("\n".join(announcement(stack.public_url, simulated_at)))


@app.command()
def down(
    simulator: Simulated = False,
    volumes: Annotated[bool, typer.Option("--volumes", help="Remove the database, too. There is no way back.")] = False,
) -> None:
    """Stop the stack and remove its containers; its database stays unless `--volumes`."""
    stack = Stack.here(simulator=simulator)
    try:
        stack.refuse_without_engine()
        stack.down(volumes=volumes)
    except StackError as error:
        refuse(str(error), 1)


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    simulator: Simulated = False,
) -> None:
    """Make a key that may read everything over the ledger's API, and print its secret once."""
    stack = Stack.here(simulator=simulator)
    try:
        stack.refuse_without_engine()
        print(stack.run("exec", "-T", "auth", "citadel", "keys", "create", name), end="")
    except StackError as error:
        refuse(str(error), 1)


class OwnerSettings(SettingsFromAnywhere):
    """The URL of the database's owner."""

    owner_database_url: PostgresUrl = Field(description="the owner of the database")


_URLS: dict[str, Any] = {
    name: (PostgresUrl, Field(description=f"the login of {role.service}")) for name, role in LOGINS.items()
}
MigrateSettings = create_model("MigrateSettings", __base__=OwnerSettings, **_URLS)
"""The URLs of the owner and of the services' logins; LOGINS has their roles."""


@app.command()
def migrate() -> None:
    """Bring the schema up to date, and give each service its login. Repeating it changes nothing."""
    from console.compose.logins import Login, LoginsFailed, make_logins  # psycopg and Alembic: only here
    from shared import migrations

    urls = load(MigrateSettings)
    owner = urls.owner_database_url.get_secret_value()
    try:
        logins = [Login.of(getattr(urls, name).get_secret_value(), role) for name, role in LOGINS.items()]
        migrations.upgrade(owner)
        make_logins(owner, logins)
    except (migrations.MigrationError, LoginsFailed, ValueError) as error:
        refuse(str(error), 1)
    print(f"the schema is at {migrations.HEAD}; logins: {', '.join(login.name for login in logins)}")


if __name__ == "__main__":
    app()
