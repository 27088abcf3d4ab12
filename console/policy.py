"""`citadel policy`: write, check, compare, activate and roll back policies; move open recoveries."""

import sys
from pathlib import Path
from typing import Annotated
from uuid import UUID

import orjson
import typer
from rich.table import Table

from console.database import DATA, DataDir, in_transaction, merchant_id_of
from console.terminal import print_json, read_json, read_policy_file, refuse, show_problems, terminal
from shared.database import Connection, Role
from shared.ids import MerchantId
from shared.policy import Policy, PolicyRefused, differences, json_schema, problems_of, store
from shared.policy.store import Changed, Move, Version

policy_app = typer.Typer(help="Policies: the versioned rules of recovery.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="A policy as JSON; - reads it from the standard input.")]
Merchant = Annotated[
    str | None, typer.Option(help="The merchant, acct_… or our id; by default the platform's own policy.")
]
PolicyId = Annotated[UUID, typer.Argument(help="A version's id, from `citadel policy list`.")]


async def _owner(db: Connection, merchant: str | None) -> MerchantId | None:
    return None if merchant is None else await merchant_id_of(db, merchant)


def _told(version: Version) -> str:
    whose = "the platform's" if version.merchant_id is None else f"{version.merchant_id}'s"
    return f"version {version.version} of {whose} policy ({version.id})"


@policy_app.command("default")
def default() -> None:
    """Print the default policy, to start a file from."""
    print_json(Policy.default().model_dump(mode="json"))


@policy_app.command("schema")
def schema() -> None:
    """Print the policy document's JSON Schema."""
    print_json(json_schema())


@policy_app.command("validate")
def validate(file: File) -> None:
    """List every problem of a document with its place; exit status 2 when there is any."""
    problems = problems_of(read_json(file))
    if problems:
        show_problems(PolicyRefused(problems))
        refuse(f"{len(problems)} problems")
    print("this is a policy")


@policy_app.command("create")
def create(
    file: File,
    merchant: Merchant = None,
    note: Annotated[str | None, typer.Option(help="What the version is for.")] = None,
    data_dir: DataDir = DATA,
) -> None:
    """Write the next version; it is not in force until it is activated. Prints its id."""
    policy = read_policy_file(file)

    async def write(db: Connection) -> Version:
        return await store.create(db, await _owner(db, merchant), policy, note)

    made = in_transaction(data_dir, Role.LEDGER, write)
    print(f"wrote {_told(made)}; put it in force: citadel policy activate {made.id}", file=sys.stderr)
    print(made.id)


@policy_app.command("list")
def list_versions(merchant: Merchant = None, data_dir: DataDir = DATA) -> None:
    """List the versions, newest first."""

    async def read(db: Connection) -> list[Version]:
        return list(await store.versions(db, await _owner(db, merchant)))

    found = in_transaction(data_dir, Role.LEDGER, read)
    table = Table("id", "version", "state", "made", "put in force", "note", box=None, pad_edge=False)
    for each in found:
        at = f"{each.activated_at:%Y-%m-%d %H:%M}" if each.activated_at else "-"
        state = "in force" if each.active else "-"
        table.add_row(str(each.id), str(each.version), state, f"{each.created_at:%Y-%m-%d}", at, each.note or "")
    terminal(250).print(table)


@policy_app.command("show")
def show(policy: PolicyId, data_dir: DataDir = DATA) -> None:
    """Print a version's document."""
    version = in_transaction(data_dir, Role.LEDGER, lambda db: store.find(db, policy))
    print_json(version.policy.model_dump(mode="json"))


@policy_app.command("diff")
def diff(
    before: PolicyId,
    after: Annotated[UUID, typer.Argument(help="The version to compare it with.")],
    data_dir: DataDir = DATA,
) -> None:
    """Print the differences between two versions, one place a line."""

    async def both(db: Connection) -> tuple[Version, Version]:
        return await store.find(db, before), await store.find(db, after)

    one, other = in_transaction(data_dir, Role.LEDGER, both)
    for each in differences(one.policy, other.policy):
        was, now = (orjson.dumps(value).decode() for value in (each.before, each.after))
        print(f"{each.place}: {was} -> {now}")


@policy_app.command("activate")
def activate(policy: PolicyId, data_dir: DataDir = DATA) -> None:
    """Put a version in force for recoveries that open from now on; open ones keep theirs."""

    async def put(db: Connection) -> Version:
        return await store.activate(db, await store.find(db, policy))

    print(f"in force: {_told(in_transaction(data_dir, Role.LEDGER, put))}")


@policy_app.command("rollback")
def roll_back(merchant: Merchant = None, data_dir: DataDir = DATA) -> None:
    """Put the previous version in force again."""

    async def back(db: Connection) -> Version:
        return await store.roll_back(db, await _owner(db, merchant))

    version = in_transaction(data_dir, Role.LEDGER, back)
    print(f"in force: {_told(version)}")


@policy_app.command("move")
def move(
    policy: PolicyId,
    yes: Annotated[str | None, typer.Option(help="The token that this command printed: do exactly that.")] = None,
    data_dir: DataDir = DATA,
) -> None:
    """Show what would change if the open recoveries were moved to a version; with --yes TOKEN, move them."""

    async def look(db: Connection) -> tuple[Version, list[Move], str]:
        version = await store.find(db, policy)
        moves = await store.moves_to(db, version)
        return version, moves, store.token_of(version, moves)

    async def do(db: Connection) -> list[Move]:
        return await store.move(db, await store.find(db, policy), yes or "")

    if yes is not None:
        try:
            moved = in_transaction(data_dir, Role.WORKER, do)
        except Changed as changed:
            refuse(f"{changed}: run the command without --yes, and look again", 1)
        print(f"{len(moved)} recoveries moved")
        return
    version, moves, token = in_transaction(data_dir, Role.WORKER, look)
    _show_moves(moves)
    ending = sum(each.ends_at_once for each in moves)
    print(f"{len(moves)} recoveries would move to {_told(version)}; {ending} of them would end at once")
    if moves:
        print(f"to do exactly this: citadel policy move {policy} --yes {token}")


def _show_moves(moves: list[Move]) -> None:
    table = Table("invoice", "state", "from", "window ends", "attempts left", "", box=None, pad_edge=False)
    for each in moves[:50]:
        window = f"{each.window_ends_before:%Y-%m-%d} -> {each.window_ends_after:%Y-%m-%d}"
        left = f"{each.attempts_left_before} -> {each.attempts_left_after}"
        at_once = "ends at once" if each.ends_at_once else ""
        table.add_row(each.invoice_id, each.state, f"version {each.from_version}", window, left, at_once)
    if moves:
        terminal(160).print(table)
    if len(moves) > 50:
        print(f"… and {len(moves) - 50} more")
