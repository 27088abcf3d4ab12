"""The control API: what a test or the demo does to the world, and reads from it. See README.md."""

import re
import resource
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from simulator.errors import missing
from simulator.fates import fates
from simulator.faults import Fault
from simulator.invoicing import default_payment
from simulator.people import SCRIPT_FIELDS
from simulator.population import Plan
from simulator.shapes import HOUR, Json
from simulator.simulation import Simulator
from simulator.summary import summarize
from simulator.webhooks import WebhookPlan
from simulator.world import Account


@dataclass(frozen=True, slots=True)
class Ask:
    """One control request: the ids in its path, and what was given in its query and JSON body."""

    sim: Simulator
    path: dict[str, str]
    given: Json

    def owned(self, kind: str, name: str | None = None) -> tuple[Account, Json]:
        """The object whose id is in the path under the name of its kind, or under `name`, with its account."""
        ident = self.path[name or kind]
        account = self.sim.world.account_of(ident)
        return account, account.get(kind, ident)

    def about(self, path: dict[str, str], given: Json) -> "Ask":
        """Another request to the same simulation."""
        return Ask(self.sim, path, given)


Handler = Callable[[Ask], Awaitable[Any]]


class Controls:
    """The routes of the control API."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = []

    def route(self, method: str, template: str) -> Callable[[Handler], Handler]:
        """Registers a function for `/_sim` + template; `{name}` matches one segment."""
        pattern = re.compile("/_sim" + re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template))

        def register(function: Handler) -> Handler:
            self._routes.append((method, pattern, function))
            return function

        return register

    def find(self, method: str, path: str) -> tuple[Handler | None, dict[str, str]]:
        for known, pattern, handler in self._routes:
            found = pattern.fullmatch(path)
            if known == method and found:
                return handler, found.groupdict()
        return None, {}


CONTROL = Controls()


# -- making a world ------------------------------------------------------------------------------


@CONTROL.route("POST", "/populate")
async def populate(ask: Ask) -> Json:
    for name in ("currencies", "reaction_delay", "stripe_retries", "renewed_after", "back_after"):
        if name in ask.given:
            ask.given[name] = tuple(ask.given[name])
    return {"accounts": ask.sim.population.populate(Plan(**ask.given))}


@CONTROL.route("POST", "/accounts")
async def add_account(ask: Ask) -> Json:
    retries = tuple(ask.given.pop("stripe_retries", ()))
    if "id" in ask.given:
        ask.given["ident"] = ask.given.pop("id")
    account = ask.sim.population.add_account(**ask.given)
    account.retries = retries
    return _account(account)


@CONTROL.route("GET", "/accounts")
async def list_accounts(ask: Ask) -> list[Json]:
    return [_account(account) for account in ask.sim.world.accounts.values()]


@CONTROL.route("PATCH", "/accounts/{account}")
async def change_account(ask: Ask) -> Json:
    account = _at(ask.sim, ask.path["account"])
    if "stripe_retries" in ask.given:
        account.retries = tuple(ask.given["stripe_retries"])
    if "upcoming_days" in ask.given:
        account.upcoming_days = int(ask.given["upcoming_days"])
    if "portal" in ask.given:
        account.portal = bool(ask.given["portal"])
    if "after_retries" in ask.given:
        account.after_retries = _one_of(ask.given["after_retries"], ("past_due", "unpaid", "cancel"))
    if "write_off_after_retries" in ask.given:
        account.write_off_after_retries = bool(ask.given["write_off_after_retries"])
    if "connected" in ask.given:
        account.connected = bool(ask.given["connected"])
    return _account(account)


@CONTROL.route("POST", "/accounts/{account}/deauthorize")
async def deauthorize(ask: Ask) -> Json:
    account = _at(ask.sim, ask.path["account"])
    ask.sim.oauth.disconnect(account)
    return _account(account)


@CONTROL.route("POST", "/customers")
async def add_customer(ask: Ask) -> Json:
    """`account`, and of the person what is not to be made up; `card` or `debit`, and `reaction`, may follow."""
    account = _at(ask.sim, ask.given["account"])
    rng = ask.sim.world.rng(f"person:{len(ask.sim.world.pii)}")
    person = {**ask.sim.population.person(rng, account.currency), **ask.given.get("person", {})}
    customer = ask.sim.people.add_customer(account, person, currency=account.currency)
    method = None
    if "debit" in ask.given:
        method = ask.sim.people.add_debit(account, customer, ask.given["debit"], default=True, announce=False)
    elif "card" in ask.given:
        method = ask.sim.people.add_card(account, customer, ask.given["card"], default=True, announce=False)
    if "balance" in ask.given:
        ask.sim.balances.change(account, customer, ask.given["balance"])
    if "reaction" in ask.given:
        ask.sim.people.set_reaction(account, customer["id"], ask.given["reaction"])
    return {"customer": customer, "payment_method": method}


@CONTROL.route("POST", "/subscriptions")
async def add_subscription(ask: Ask) -> Json:
    """`account`, `customer`; `amount`, `currency`, `interval`, `renews_at` or `renews_in` seconds."""
    account = _at(ask.sim, ask.given["account"])
    customer = account.get("customer", ask.given["customer"])
    renews_at = ask.given.get("renews_at", ask.sim.world.clock.now + ask.given.get("renews_in", 24 * HOUR))
    return ask.sim.population.subscribe(
        account,
        customer,
        amount=ask.given.get("amount", 2_000),
        currency=ask.given.get("currency"),
        interval=ask.given.get("interval", "month"),
        renews_at=renews_at,
        default_payment_method=ask.given.get("default_payment_method"),
    )


@CONTROL.route("POST", "/subscriptions/{subscription}/renew")
async def renew(ask: Ask) -> Json:
    """Ends the period now: the invoice is made, finalised and tried at once, without its hour.

    `paid_before`: so much of it is paid by another card between the two.
    """
    account, subscription = ask.owned("subscription")
    if subscription["status"] == "canceled":
        raise ValueError("a canceled subscription does not renew")
    item = subscription["items"]["data"][0]
    ended = {**item, "current_period_end": ask.sim.world.clock.now}
    subscription["items"] = {**subscription["items"], "data": [ended]}
    invoice = ask.sim.billing.renew(account, subscription)
    if invoice is None or not invoice["auto_advance"]:
        return {"invoice": invoice}
    ask.sim.invoices.finalize(account, invoice)
    if "paid_before" in ask.given:
        customer = account.get("customer", invoice["customer"])
        other = ask.sim.people.add_card(account, customer, {}, default=False, announce=True)
        ask.sim.part_payments.attach(account, invoice, other, ask.given["paid_before"])
    ask.sim.collecting.attempt(account, invoice, "renewal")
    return {"invoice": invoice}


@CONTROL.route("POST", "/renewals")
async def add_renewal(ask: Ask) -> Json:
    """A customer with a card and a subscription that has just renewed: the smallest whole story.

    `account`, `card` or `debit` (its script decides how it went), `amount`, `currency`, `interval`, `person`,
    `reaction`, `own_method` (the card is the subscription's own default), `balance` (the customer's, before),
    `paid_before`. The ids and the objects; `payment_intent` is None when nothing was due.
    """
    made = await add_customer(ask)
    own = made["payment_method"]["id"] if ask.given.get("own_method") else None
    wanted: Json = {name: ask.given[name] for name in ("amount", "currency", "interval") if name in ask.given}
    base = {"account": ask.given["account"], "customer": made["customer"]["id"]}
    subscription = await add_subscription(ask.about({}, {**base, **wanted, "default_payment_method": own}))
    part: Json = {name: ask.given[name] for name in ("paid_before",) if name in ask.given}
    renewed = await renew(ask.about({"subscription": subscription["id"]}, part))
    account = _at(ask.sim, ask.given["account"])
    invoice = renewed["invoice"]
    payment = default_payment(account, invoice)
    intent = payment[1] if payment else None
    return {**made, "subscription": subscription, "invoice": invoice, "payment_intent": intent}


@CONTROL.route("POST", "/payment_methods/{method}/script")
async def set_script(ask: Ask) -> Json:
    """A new script for a card: `{}` makes it good."""
    account = ask.sim.world.account_of(ask.path["method"])
    unknown = set(ask.given) - SCRIPT_FIELDS
    if unknown:
        raise ValueError(f"unknown in a script: {sorted(unknown)}; known: {sorted(SCRIPT_FIELDS)}")
    account.scripts[ask.path["method"]] = ask.sim.people.script(ask.given)
    return asdict(account.scripts[ask.path["method"]])


@CONTROL.route("POST", "/customers/{customer}/reaction")
async def set_reaction(ask: Ask) -> Json:
    account = ask.sim.world.account_of(ask.path["customer"])
    ask.sim.people.set_reaction(account, ask.path["customer"], ask.given)
    return asdict(account.reactions[ask.path["customer"]])


# -- time, webhooks, faults ----------------------------------------------------------------------


@CONTROL.route("GET", "/clock")
async def clock(ask: Ask) -> Json:
    now = ask.sim.world.clock
    return {"now": now.now, "start": now.start, "next_due": now.next_due}


@CONTROL.route("POST", "/clock/advance")
async def advance(ask: Ask) -> Json:
    """By `seconds`, or `to` a unix second; time does not go back."""
    until = ask.given["to"] if "to" in ask.given else ask.sim.world.clock.now + ask.given["seconds"]
    if until < ask.sim.world.clock.now:
        raise ValueError(f"the clock is at {ask.sim.world.clock.now} and cannot go back to {until}")
    ran = await ask.sim.advance(until)
    return {"now": ask.sim.world.clock.now, "ran": ran, "next_due": ask.sim.world.clock.next_due}


@CONTROL.route("POST", "/webhooks")
async def configure_webhooks(ask: Ask) -> Json:
    """Changes the plan; what is not given stays as it is."""
    if "types" in ask.given:
        ask.given["types"] = tuple(ask.given["types"])
    ask.sim.webhooks.configure(WebhookPlan(**{**asdict(ask.sim.webhooks.plan), **ask.given}))
    return asdict(ask.sim.webhooks.plan)


@CONTROL.route("POST", "/webhooks/drain")
async def drain(ask: Ask) -> Json:
    done = await ask.sim.webhooks.drain(float(ask.given.get("within", 60)))
    return {"drained": done, "pending": ask.sim.webhooks.pending}


@CONTROL.route("POST", "/events/{event}/send")
async def send_again(ask: Ask) -> Json:
    _event(ask.sim, ask.path["event"])
    ask.sim.webhooks.send_again(ask.path["event"])
    return {"pending": ask.sim.webhooks.pending}


@CONTROL.route("POST", "/events/{event}/twin")
async def twin(ask: Ask) -> Json:
    """The same fact as a new event, under an id of its own."""
    _event(ask.sim, ask.path["event"])
    return {"event": ask.sim.events.again(ask.path["event"]).id}


@CONTROL.route("POST", "/faults")
async def add_fault(ask: Ask) -> Json:
    return asdict(ask.sim.faults.add(Fault(**ask.given)))


@CONTROL.route("GET", "/faults")
async def list_faults(ask: Ask) -> list[Json]:
    return [asdict(fault) for fault in ask.sim.faults.rules]


@CONTROL.route("DELETE", "/faults")
async def clear_faults(ask: Ask) -> Json:
    ask.sim.faults.clear()
    return {}


# -- acting as a customer or merchant ------------------------------------------------------------


@CONTROL.route("POST", "/invoices/{invoice}/pay_hosted")
async def pay_hosted(ask: Ask) -> Json:
    account, invoice = ask.owned("invoice")
    problem = ask.sim.people.pay_hosted(account, invoice, ask.given.get("card", {}), ask.given.get("debit"))
    return {"invoice": invoice, "error": problem.body["error"] if problem else None}


@CONTROL.route("POST", "/invoices/{invoice}/authenticate")
async def authenticate(ask: Ask) -> Json:
    account, invoice = ask.owned("invoice")
    problem = ask.sim.people.authenticate(account, invoice)
    return {"invoice": invoice, "error": problem.body["error"] if problem else None}


@CONTROL.route("POST", "/customers/{customer}/cards")
async def add_card(ask: Ask) -> Json:
    """A card added in the billing portal; `default: false` leaves the old one the default."""
    account, customer = ask.owned("customer")
    default = ask.given.get("default", True)
    return ask.sim.people.add_card(account, customer, ask.given.get("card", {}), default=default, announce=True)


@CONTROL.route("POST", "/subscriptions/{subscription}/cancel")
async def cancel(ask: Ask) -> Json:
    account, subscription = ask.owned("subscription")
    ask.sim.billing.cancel(account, subscription, "cancellation_requested")
    return subscription


# -- reading -------------------------------------------------------------------------------------


@CONTROL.route("GET", "/charges")
async def charges(ask: Ask) -> list[Json]:
    """The charge log: every time money moved, in order."""
    return [asdict(found) for found in ask.sim.world.attempts if found.outcome == "succeeded"]


@CONTROL.route("GET", "/attempts")
async def attempts(ask: Ask) -> list[Json]:
    """Every try to move money, declined ones too; `invoice` narrows it."""
    wanted = ask.given.get("invoice")
    return [asdict(found) for found in ask.sim.world.attempts if wanted in {None, found.invoice}]


@CONTROL.route("GET", "/requests")
async def requests(ask: Ask) -> list[Json]:
    """The request log; `since` is a sequence number, `method` and `path` narrow it."""
    since = int(ask.given.get("since", 0))
    return [
        asdict(found)
        for found in ask.sim.requests
        if found.seq > since
        and ask.given.get("method") in {None, found.method}
        and found.path.startswith(ask.given.get("path", ""))
    ]


@CONTROL.route("GET", "/deliveries")
async def deliveries(ask: Ask) -> list[Json]:
    return [asdict(found) for found in ask.sim.webhooks.deliveries.values()]


@CONTROL.route("GET", "/events")
async def list_events(ask: Ask) -> list[Json]:
    """Id, type, account and time of every event, oldest first."""
    return [
        {"id": found.id, "type": found.type, "account": found.account, "created": found.created}
        for found in ask.sim.world.events.values()
        if ask.given.get("type") in {None, found.type} and ask.given.get("account") in {None, found.account}
    ]


@CONTROL.route("GET", "/meter_events")
async def meter_events(ask: Ask) -> list[Json]:
    return [asdict(found) for found in ask.sim.meters.accepted]


@CONTROL.route("GET", "/pii")
async def pii(ask: Ask) -> list[str]:
    return list(ask.sim.world.pii)


@CONTROL.route("GET", "/fates")
async def all_fates(ask: Ask) -> list[Json]:
    return [asdict(found) for found in fates(ask.sim.world)]


@CONTROL.route("GET", "/summary")
async def summary(ask: Ask) -> Json:
    return asdict(summarize(ask.sim))


@CONTROL.route("GET", "/usage")
async def usage(_ask: Ask) -> Json:
    """What the simulator's own process has used, for measurements of it and beside it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "max_rss_mb": used.ru_maxrss // 1024,
    }


@CONTROL.route("GET", "/objects/{ident}")
async def any_object(ask: Ask) -> Json:
    """Any resource of any account, by its id."""
    found = ask.sim.world.account_of(ask.path["ident"]).find(ask.path["ident"])
    if found is None:
        raise missing("object", ask.path["ident"])
    return found


def _one_of(value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"{value!r} is none of {known}")
    return value


def _at(sim: Simulator, ident: str) -> Account:
    if ident not in sim.world.accounts:
        raise missing("account", ident)
    return sim.world.accounts[ident]


def _event(sim: Simulator, ident: str) -> None:
    if ident not in sim.world.events:
        raise missing("event", ident)


def _account(account: Account) -> Json:
    return {
        "id": account.id,
        "currency": account.currency,
        "country": account.resource["country"],
        "name": account.resource["business_profile"]["name"],
        "connected": account.connected,
        "stripe_retries": list(account.retries),
        "customers": len(account.objects["customer"]),
        "subscriptions": len(account.objects["subscription"]),
        "invoices": len(account.objects["invoice"]),
    }
