"""The control API of keys and access: barriers, restrictions of an account, and a merchant who comes back."""

from dataclasses import asdict

from simulator.access import Barrier
from simulator.control import CONTROL, Ask
from simulator.shapes import Json


@CONTROL.route("POST", "/access")
async def add_barrier(ask: Ask) -> Json:
    """The fields of `access.Barrier`; `seconds` counts from now instead of `until`."""
    if "seconds" in ask.given:
        ask.given["until"] = ask.sim.world.clock.now + ask.given.pop("seconds")
    return asdict(ask.sim.access.add(Barrier(**ask.given)))


@CONTROL.route("GET", "/access")
async def list_barriers(ask: Ask) -> list[Json]:
    return [asdict(barrier) for barrier in ask.sim.access.barriers]


@CONTROL.route("DELETE", "/access")
async def clear_barriers(ask: Ask) -> Json:
    """All of them, or the one with `id`."""
    ask.sim.access.remove(ask.given.get("id"))
    return {}


@CONTROL.route("POST", "/accounts/{account}/reconnect")
async def reconnect(ask: Ask) -> Json:
    """The merchant connects again; the grant of a token request, for whoever wants its tokens."""
    return ask.sim.oauth.reconnect(ask.sim.world.account(ask.path["account"]), ask.given.get("scope", "read_write"))


@CONTROL.route("POST", "/accounts/{account}/restrict")
async def restrict(ask: Ask) -> Json:
    """`charges` false: the account may not charge, as one whose requirements are past due; true: it may again."""
    account = ask.sim.world.account(ask.path["account"])
    able = bool(ask.given.get("charges", False))
    before = {"charges_enabled": account.resource["charges_enabled"]}
    requirements = {**account.resource["requirements"], "disabled_reason": None if able else "requirements.past_due"}
    account.resource["charges_enabled"] = able
    account.resource["requirements"] = requirements
    ask.sim.events.emit(account, "account.updated", account.resource, before)
    return account.resource
