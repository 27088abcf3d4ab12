"""No handler can reach the database while it is at a remote service, and each keeps the engine's contract."""

import ast
import inspect
import textwrap
import typing
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

import services.worker
from services.worker.engine.loop import Engine
from services.worker.handler import AnyHandler, Handler, Payload, handles, registered
from services.worker.handlers import discover
from services.worker.outside.remote import Outside, Remote
from shared.database import Connection, Database

HANDLERS = discover()
TYPES = {
    "catch_up",
    "dunning_retry",
    "end_dunning",
    "follow_silence",
    "learn_belief",
    "notify_action_required",
    "report_usage",
    "send_weekly_digest",
    "tell_ended",
    "tell_merchant_ended",
    "thank_customer",
    "warn_card_expiring",
}
# What `perform` may use of the worker: none of these modules imports the database.
PERFORMERS = (
    "dunning_retry/collect.py",
    "dossier/dossier.py",
    "dossier/foresight.py",
    "dossier/story.py",
    "outside/stripe_calls.py",
    "outside/invoices.py",
    "outside/stripe_objects.py",
    "catch_up/listing.py",
    "catch_up/plan.py",
    "recovery/outcomes.py",
    "outside/email.py",
    "messages/brand.py",
    "messages/campaign.py",
    "messages/cards.py",
    "messages/delivery.py",
    "messages/drafting.py",
    "messages/expiry.py",
    "messages/language.py",
    "messages/letters.py",
    "messages/sending.py",
    "outside/lease.py",
    "outside/remote.py",
)
WORKER = Path(services.worker.__path__[0])


def test_every_file_of_the_folder_is_a_task_type() -> None:
    files = {path.stem for path in (WORKER / "handlers").glob("*.py")} - {"__init__"}
    assert set(HANDLERS) == files == TYPES


@pytest.mark.parametrize("name", sorted(TYPES))
def test_perform_takes_a_remote_and_a_plan_and_nothing_else(name: str) -> None:
    signature = inspect.signature(HANDLERS[name].perform)
    assert list(signature.parameters) == ["remote", "plan"]
    assert signature.parameters["remote"].annotation is Remote


@pytest.mark.parametrize("name", sorted(TYPES))
def test_a_handler_holds_nothing(name: str) -> None:
    handler = HANDLERS[name]
    assert vars(handler) == {}
    held = [value for value in vars(type(handler)).values() if isinstance(value, Database | Engine)]
    assert held == []


def _reachable(kind: object, seen: set[object]) -> Iterator[object]:
    """Every type in the fields of a dataclass, and in theirs."""
    if kind in seen:
        return
    seen.add(kind)
    yield kind
    for part in typing.get_args(kind):
        yield from _reachable(part, seen)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        for field in fields(kind):
            yield from _reachable(hints[field.name], seen)


@pytest.mark.parametrize("kind", [Remote, Outside])
def test_no_database_is_in_what_perform_is_given(kind: type) -> None:
    assert {Database, Connection} & set(_reachable(kind, set())) == set()


@pytest.mark.parametrize("name", sorted(TYPES))
def test_no_plan_carries_a_database(name: str) -> None:
    plan = typing.get_type_hints(HANDLERS[name].perform)["plan"]
    reachable = set(_reachable(plan, set()))
    assert {Database, Connection} & reachable == set()
    assert [kind for kind in reachable if "asyncpg" in str(kind)] == []


def _names(source: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(textwrap.dedent(source))) if isinstance(node, ast.Name)}


@pytest.mark.parametrize("name", sorted(TYPES))
def test_the_text_of_perform_names_nothing_of_the_database(name: str) -> None:
    names = _names(inspect.getsource(type(HANDLERS[name]).perform))
    database = {"db", "database", "Database", "Connection", "store", "asyncpg"}
    rows = {"tasks", "queued", "recoveries", "recovery_opening", "recovery_stops", "recovery_tasks"}
    assert (database | rows) & names == set()


@pytest.mark.parametrize("file", PERFORMERS)
def test_what_perform_calls_imports_no_way_to_the_database(file: str) -> None:
    imported = set()
    for node in ast.walk(ast.parse((WORKER / file).read_text())):
        match node:
            case ast.ImportFrom(module=str(module), names=aliases):
                imported |= {module, *(f"{module}.{alias.name}" for alias in aliases)}
            case ast.Import(names=aliases):
                imported |= {alias.name for alias in aliases}
    forbidden = {
        "asyncpg",
        "shared.database",
        "shared.queue.queued",
        "shared.queue.tasks",
        "services.worker.merchants",
        "services.worker.dossier.attempt_store",
        "services.worker.dossier.store",
        "services.worker.engine.store",
        "services.worker.outside.store",
    }
    assert forbidden & imported == set()


def test_two_handlers_for_one_task_type_are_refused() -> None:
    class Other(Handler[Payload, None, None]):
        payload = Payload

        async def load(self, db: typing.Any, task: typing.Any) -> None: ...
        async def perform(self, remote: Remote, plan: None) -> None: ...
        async def commit(self, db: typing.Any, task: typing.Any, outcome: None) -> None: ...

    with pytest.raises(ValueError, match="two handlers"):
        handles("report_usage")(Other)
    assert registered()["report_usage"] is HANDLERS["report_usage"]


def test_a_handler_of_one_file_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    # A register of its own: what is registered here must not be a task type for the tests that follow.
    monkeypatch.setattr("services.worker.handler._registered", dict(registered()))

    @handles("a_new_type")
    class NewType(Handler[Payload, None, None]):
        payload = Payload

        async def load(self, db: typing.Any, task: typing.Any) -> None: ...
        async def perform(self, remote: Remote, plan: None) -> None: ...
        async def commit(self, db: typing.Any, task: typing.Any, outcome: None) -> None: ...

    found: AnyHandler = registered()["a_new_type"]
    assert isinstance(found, NewType)
