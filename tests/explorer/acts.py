"""What the people of a world do: customers, their banks, merchants, Stripe itself, an operator, and what breaks.

Each function does one act of a story. An act that cannot be done now (its object is gone, paid, or never was) raises
NotNow, or is refused by the simulation, and does nothing.
"""

from datetime import UTC, datetime
from email.utils import parseaddr
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from simulator.errors import ApiError
from simulator.faults import Fault
from tests.explorer.story import DAY, HOUR, Act
from tests.explorer.truth import Json
from tests.explorer.world import Crossing, NotNow, Person, World, doing

# -- customers -----------------------------------------------------------------------------------


@doing("renewal")
async def renewal(world: World, act: Act) -> None:
    """A customer whose subscription renews, with a card, a bank account, a legacy source or nothing to charge."""
    how = dict(act.how)
    person: Json = {"locale": "en", **how.pop("person", {})}
    if "source" in how:
        made = await world.control.add_source_renewal(world.account_id, how.pop("source"), person=person, **how)
    elif how.get("card") is None and "debit" not in how:
        how.pop("card", None)
        made = await world.control.add_bare_renewal(world.account_id, person=person, **how)
    else:
        card = how.pop("card", None)
        more: Json = {"debit": how.pop("debit")} if "debit" in how else {"card": card}
        made = await world.control._post("/renewals", {"account": world.account_id, "person": person, **more, **how})
    if made["invoice"] is None:
        raise NotNow("nothing was due")
    _join(world, act.who, made)


@doing("another_subscription")
async def another_subscription(world: World, act: Act) -> None:
    """A second subscription of the same customer renews."""
    other = world.person(act)
    fields = {name: act.how[name] for name in ("amount",) if name in act.how}
    subscription = await world.control.add_subscription(world.account_id, other.customer, **fields)
    invoice = await world.control.renew(subscription["id"])
    if invoice is not None:
        world.cast[act.how["as"]] = Person(other.customer, subscription["id"], invoice["id"], other.method)


@doing("another_invoice")
async def another_invoice(world: World, act: Act) -> None:
    """An invoice between the renewals, or the next renewal."""
    one = world.person(act)
    if act.how["reason"] == "subscription_cycle":
        invoice = await world.control.renew(one.subscription)
    else:
        invoice = await world.control.add_invoice(one.subscription, act.how["reason"], act.how.get("amount"))
    if invoice is not None:
        world.cast[act.how["as"]] = Person(one.customer, one.subscription, invoice["id"], one.method)


def _join(world: World, label: str, made: Json) -> None:
    method = made.get("payment_method")
    ids = (made["customer"]["id"], made["subscription"]["id"], made["invoice"]["id"])
    world.cast[label] = Person(*ids, method["id"] if method else None)


@doing("pays")
async def pays(world: World, act: Act) -> None:
    """On the hosted page, with a card or a bank account."""
    debit = act.how.get("debit")
    await world.control.pay_hosted(world.person(act).invoice, debit, **act.how.get("card", {}))


@doing("authenticates")
async def authenticates(world: World, act: Act) -> None:
    await world.control.authenticate(world.person(act).invoice)


@doing("new_card")
async def new_card(world: World, act: Act) -> None:
    """In the billing portal, which moves what subscriptions pin, too; or only on file."""
    await world.control.add_card(
        world.person(act).customer, default=act.how.get("default", True), **act.how.get("card", {})
    )
    world.seen.cards[world.person(act).customer] = world.now


@doing("new_card_by_form")
async def new_card_by_form(world: World, act: Act) -> None:
    """In a merchant's own form: the customer's default, and no subscription's."""
    await world.control.own_form(world.person(act).customer, **act.how.get("card", {}))
    world.seen.cards[world.person(act).customer] = world.now


@doing("new_debit")
async def new_debit(world: World, act: Act) -> None:
    debit = dict(act.how["debit"])
    await world.control.add_debit(world.person(act).customer, debit.pop("type"), **debit)
    world.seen.cards[world.person(act).customer] = world.now


@doing("card_renewed")
async def card_renewed(world: World, act: Act) -> None:
    """Under the same id: a new number, or only a later date."""
    method = world.person(act).method
    if method is None:
        raise NotNow("no card")
    how = act.how
    await world.control.renew_card(
        method, number=how.get("number", False), events=how.get("events"), **how.get("card", {})
    )
    tried = [each for each in world.simulation.world.attempts if each.payment_method == method]
    # A later date cures a card that has expired, and nothing else.
    if how.get("number", False) or (tried and tried[-1].decline_code == "expired_card"):
        world.seen.cards[world.person(act).customer] = world.now


@doing("bank_decides")
async def bank_decides(world: World, act: Act) -> None:
    """Another script for the card or the bank account of the renewal."""
    method = world.person(act).method
    if method is None:
        raise NotNow("nothing to script")
    if method in world.account.debits:
        await world.control.set_debit_script(method, **act.how.get("debit", {}))
    else:
        await world.control.set_script(method, **act.how.get("card", {}))


@doing("address")
async def address(world: World, act: Act) -> None:
    """The merchant adds, corrects or removes the customer's email address."""
    customer = world.person(act).customer
    before = world.thing(customer).get("email")
    await world.control.change_person(customer, email=act.how["email"])
    if before is None:
        world.seen.addresses[customer] = world.now


@doing("mailbox")
async def mailbox(world: World, act: Act) -> None:
    """The customer's mailbox bounces, complains, or takes mail again."""
    email = world.thing(world.person(act).customer).get("email")
    if email is None:
        raise NotNow("no address")
    world.bouncing = True
    await world.control.set_mailbox(email, act.how["outcome"])


@doing("unsubscribes")
async def unsubscribes(world: World, act: Act) -> None:
    """With the link of the last email."""
    one = world.person(act)
    address = world.thing(one.customer).get("email")
    for email in reversed(world.simulation.resend.outbox.values()):
        to = email.message["to"]
        link = email.message.get("headers", {}).get("List-Unsubscribe")
        if address is not None and link and parseaddr(to if isinstance(to, str) else to[0])[1] == address:
            async with world.stage.ingress.post(urlsplit(link.strip("<>")).path) as answer:
                if answer.status == 200:
                    world.word("silence", customer=one.customer)
            return
    raise NotNow("no email yet")


@doing("cancels")
async def cancels(world: World, act: Act) -> None:
    await world.control.cancel_subscription(world.person(act).subscription)


@doing("ends_later")
async def ends_later(world: World, act: Act) -> None:
    """The subscription is to end at its period's end, or in some days; or goes on after all."""
    one, days = world.person(act), act.how.get("days")
    at = None if days is None else world.now + days * DAY
    at_period_end = bool(act.how.get("at_period_end"))
    await world.control.end_subscription(one.subscription, at=at, at_period_end=at_period_end)


@doing("deleted")
async def deleted(world: World, act: Act) -> None:
    await world.control.delete_customer(world.person(act).customer)


@doing("as_account")
async def as_account(world: World, act: Act) -> None:
    await world.control.make_customer_account(world.person(act).customer)


# -- the merchant --------------------------------------------------------------------------------


@doing("credit_note")
async def credit_note(world: World, act: Act) -> None:
    """A share of what remains, or more than that."""
    invoice = world.thing(world.person(act).invoice)
    amount = round(invoice["amount_remaining"] * act.how["share"])
    if amount <= 0:
        raise NotNow("nothing remains")
    await world.control.credit_note(invoice["id"], amount)


@doing("balance")
async def balance(world: World, act: Act) -> None:
    await world.control.change_balance(world.person(act).customer, act.how["amount"])


@doing("part_payment")
async def part_payment(world: World, act: Act) -> None:
    """The merchant charges a share of the invoice to another card."""
    invoice = world.thing(world.person(act).invoice)
    amount = round(invoice["amount_remaining"] * act.how["share"])
    if amount <= 0:
        raise NotNow("nothing remains")
    more: Json = {"debit": act.how["debit"]} if "debit" in act.how else {"card": {}}
    await world.control.attach_payment(invoice["id"], amount, **more)


@doing("paid_outside")
async def paid_outside(world: World, act: Act) -> None:
    """Settled in cash: the merchant marks the invoice paid."""
    invoice = world.thing(world.person(act).invoice)
    await _by_hand(lambda: world.simulation.collecting.paid_elsewhere(world.account, invoice))


@doing("voids")
async def voids(world: World, act: Act) -> None:
    invoice = world.thing(world.person(act).invoice)
    if invoice["status"] not in {"open", "uncollectible"}:
        raise NotNow("not open")
    await _by_hand(lambda: world.simulation.invoices.void(world.account, invoice))


@doing("writes_off")
async def writes_off(world: World, act: Act) -> None:
    invoice = world.thing(world.person(act).invoice)
    if invoice["status"] != "open":
        raise NotNow("not open")
    await _by_hand(lambda: world.simulation.invoices.write_off(world.account, invoice))


async def _by_hand(work: Any) -> None:
    try:
        work()
    except ApiError as problem:
        raise NotNow(str(problem.body)) from problem


@doing("collection")
async def collection(world: World, act: Act) -> None:
    """Automatic collection of the invoice off, or on again."""
    await world.control.set_auto_advance(world.person(act).invoice, act.how["on"])


@doing("sends_invoice")
async def sends_invoice(world: World, act: Act) -> None:
    await world.control.set_collection_method(world.person(act).invoice, "send_invoice")


@doing("pauses")
async def pauses(world: World, act: Act) -> None:
    """The subscription's collection, perhaps for some days; or no longer."""
    days = act.how.get("days")
    resumes = None if days is None else world.now + days * DAY
    await world.control.pause_collection(world.person(act).subscription, act.how.get("behavior"), resumes)


@doing("status")
async def status(world: World, act: Act) -> None:
    one = world.person(act)
    if world.thing(one.subscription)["status"] == "canceled":
        raise NotNow("a canceled subscription stays canceled")
    await world.control.set_status(one.subscription, act.how["status"])


@doing("refunds")
async def refunds(world: World, act: Act) -> None:
    """The invoice's last charge, or a share of it."""
    charge, amount = _last_charge(world, act)
    share = act.how.get("share", 1)
    fields = {name: act.how[name] for name in ("takes_days", "fails") if name in act.how}
    await world.control.refund(charge, max(1, round(amount * share)), **fields)


@doing("disputes")
async def disputes(world: World, act: Act) -> None:
    """The customer's bank takes the invoice's last charge back; it ends some days later."""
    charge, _ = _last_charge(world, act)
    await world.control.dispute(charge, **act.how)


@doing("debit_ends")
async def debit_ends(world: World, act: Act) -> None:
    """A debit under way ends now."""
    for charge in world.account.objects["charge"].values():
        if charge["status"] == "pending" and world.account.billed.get(charge["payment_intent"]) == _invoice(world, act):
            await world.control.end_debit(charge["id"], act.how.get("fails"))
            return
    raise NotNow("no debit is under way")


@doing("debit_returned")
async def debit_returned(world: World, act: Act) -> None:
    """The bank takes a paid debit back."""
    charge, _ = _last_charge(world, act)
    await world.control.return_debit(charge, act.how.get("reason", "insufficient_funds"))


def _invoice(world: World, act: Act) -> str:
    return world.person(act).invoice


def _last_charge(world: World, act: Act) -> tuple[str, int]:
    wanted = _invoice(world, act)
    for movement in reversed(world.simulation.book.movements):
        if movement.kind == "charge" and movement.invoice == wanted:
            return movement.charge, movement.amount
    raise NotNow("nothing was charged")


@doing("pins")
async def pins(world: World, act: Act) -> None:
    """The present card becomes the subscription's own."""
    one = world.person(act)
    await world.control.pin_card(one.subscription, one.method)


@doing("deauthorize")
async def deauthorize(world: World, act: Act) -> None:
    if not world.account.connected:
        raise NotNow("gone already")
    await world.control.deauthorize(world.account_id)
    world.word("left")


@doing("reconnect")
async def reconnect(world: World, act: Act) -> None:
    """The merchant connects again, through our own pages."""
    if world.account.connected:
        raise NotNow("not gone")
    client = world.stage.auth
    async with client.get("/auth/stripe", allow_redirects=False) as answer:
        consent = dict(parse_qsl(urlsplit(answer.headers["Location"]).query))
        cookies = {name: morsel.value for name, morsel in answer.cookies.items()}
    back = world.simulation.oauth.authorize({**consent, "sim_account": world.account_id})
    where = urlsplit(back)
    header = "; ".join(f"{name}={value}" for name, value in cookies.items())
    async with client.get(
        f"{where.path}?{where.query}", headers={"Cookie": header, "Accept": "application/json"}, allow_redirects=False
    ) as answer:
        assert answer.status < 400, await answer.text()
    world.word("came_back")


@doing("restricted")
async def restricted(world: World, act: Act) -> None:
    """The account may not charge (any more), or may again."""
    await world.control.restrict(world.account_id, charges=act.how["charges"])


# -- Stripe --------------------------------------------------------------------------------------


@doing("stripe_tries")
async def stripe_tries(world: World, act: Act) -> None:
    """By itself, now and unannounced."""
    await world.control.stripe_retry(_invoice(world, act))


@doing("asks_for_attempt")
async def asks_for_attempt(world: World, act: Act) -> None:
    await world.control.require_attempt(_invoice(world, act))


@doing("barrier")
async def barrier(world: World, act: Act) -> None:
    """The platform's key may not do something, or is no key, for some hours."""
    how = dict(act.how)
    hours = how.pop("hours")
    await world.control.add_barrier(**how, account=world.account_id, seconds=hours * HOUR)


@doing("refuses_pay")
async def refuses_pay(world: World, act: Act) -> None:
    how = dict(act.how)
    hours = how.pop("hours")
    await world.control.refuse_pay(how.pop("code"), account=world.account_id, seconds=hours * HOUR, **how)


@doing("fault")
async def fault(world: World, act: Act) -> None:
    """What a network and a busy Stripe do to the next requests that fit."""
    world.simulation.faults.add(Fault(**{"account": "*", **act.how}))


@doing("outage")
async def outage(world: World, act: Act) -> None:
    """Stripe answers no reading of an invoice for some days."""
    broken = world.simulation.faults.add(Fault("server_error", "GET", "/v1/invoices/*", should_retry=False))
    until = world.now + act.how["days"] * DAY
    world.outages.append((until, broken))
    world.seen.outages.append((world.now, until))


@doing("events_again")
async def events_again(world: World, act: Act) -> None:
    """Events of the past are sent once more, as an operator can in Stripe's dashboard."""
    events = [each for each in world.account.events if each.wanted]
    for event in events[-act.how["last"] :]:
        world._post.append(event)


@doing("webhooks_lost")
async def webhooks_lost(world: World, act: Act) -> None:
    world.mail.lost = world.now + act.how["hours"] * HOUR


@doing("webhooks_late")
async def webhooks_late(world: World, act: Act) -> None:
    world.mail.late, world.mail.late_by = world.now + act.how["hours"] * HOUR, act.how["by"] * HOUR


@doing("webhooks_twice")
async def webhooks_twice(world: World, act: Act) -> None:
    world.mail.twice = world.now + act.how["hours"] * HOUR


@doing("webhooks_twin")
async def webhooks_twin(world: World, act: Act) -> None:
    world.mail.twin = world.now + act.how["hours"] * HOUR


@doing("webhooks_backwards")
async def webhooks_backwards(world: World, act: Act) -> None:
    world.mail.backwards = world.now + act.how["hours"] * HOUR


@doing("webhooks_old")
async def webhooks_old(world: World, act: Act) -> None:
    world.mail.old = world.now + act.how["hours"] * HOUR


@doing("test_clock")
async def test_clock(world: World, act: Act) -> None:
    await world.control.set_test_clock(world.person(act).customer, act.how["days"] * DAY)


# -- the operator --------------------------------------------------------------------------------

RECOVERY = "SELECT id::text FROM recoveries WHERE invoice_id = $1"
PENDING_RETRY = """
SELECT t.public_id::text FROM scheduled_tasks AS t JOIN recoveries AS r ON r.id = t.recovery_id
WHERE r.invoice_id = $1 AND t.task_type = 'dunning_retry' AND t.status = 'pending'
"""


PENDING_RETRIES = "SELECT id FROM scheduled_tasks WHERE task_type = 'dunning_retry' AND status = 'pending'"
CANCELED = """
SELECT DISTINCT r.invoice_id FROM scheduled_tasks AS t JOIN recoveries AS r ON r.id = t.recovery_id
WHERE t.id = ANY ($1::bigint[]) AND t.status = 'canceled'
"""


@doing("operator_cancels_retry")
async def operator_cancels_retry(world: World, act: Act) -> None:
    """The pending attempt of one recovery is taken away."""
    task = await world.rows.value(PENDING_RETRY, _invoice(world, act))
    if task is None:
        raise NotNow("none is pending")
    await world.ask("DELETE", f"/v1/tasks/{task}")
    world.word("stop", invoice=_invoice(world, act))


@doing("operator_cancels_retries")
async def operator_cancels_retries(world: World, act: Act) -> None:
    """All pending attempts of the merchant are taken away, as far as that is not refused."""
    pending = [row["id"] for row in await world.rows.rows(PENDING_RETRIES)]
    await world.ask(
        "POST", "/v1/queue/cancel-pending", {"merchant_id": world.merchant_id, "task_type": "dunning_retry"}
    )
    for row in await world.rows.rows(CANCELED, pending):
        world.word("stop", invoice=row["invoice_id"])


@doing("operator_stops")
async def operator_stops(world: World, act: Act) -> None:
    """One recovery is stopped."""
    recovery = await world.rows.value(RECOVERY, _invoice(world, act))
    if recovery is None:
        raise NotNow("no recovery")
    await world.ask("POST", f"/v1/recoveries/{recovery}/stop", {})
    world.word("stop", invoice=_invoice(world, act))


@doing("operator_leaves_alone")
async def operator_leaves_alone(world: World, act: Act) -> None:
    """A customer gets no attempt, no message and no end action, for some days or for good."""
    customer, days = world.person(act).customer, act.how.get("days")
    until = None if days is None else world.now + days * DAY
    body: Json = {"merchant_id": world.merchant_id, "customer_id": customer}
    if until is not None:
        body["until"] = datetime.fromtimestamp(until, UTC).isoformat()
    await world.ask("POST", "/v1/left-alone", body)
    world.word("left_alone", customer=customer, until=until)


@doing("operator_takes_back")
async def operator_takes_back(world: World, act: Act) -> None:
    """A customer is not left alone any more."""
    customer = world.person(act).customer
    listed = await world.ask("GET", f"/v1/left-alone?merchant_id={world.merchant_id}&customer_id={customer}")
    for row in listed["data"]:
        await world.ask("DELETE", f"/v1/left-alone/{row['id']}")
    world.word("taken_back", customer=customer)


@doing("operator_pauses")
async def operator_pauses(world: World, act: Act) -> None:
    """The merchant's tasks, or one type of them, are not handed out."""
    task_type = act.how.get("task_type")
    await world.ask("POST", "/v1/pauses", {"merchant_id": world.merchant_id, "task_type": task_type})
    world.word("pause")


@doing("operator_resumes")
async def operator_resumes(world: World, act: Act) -> None:
    task_type = act.how.get("task_type")
    await world.ask("POST", "/v1/pauses/end", {"merchant_id": world.merchant_id, "task_type": task_type})
    world.word("resume")


@doing("operator_retries_dead")
async def operator_retries_dead(world: World, act: Act) -> None:
    await world.ask("POST", "/v1/queue/retry-dead", {"merchant_id": world.merchant_id})


@doing("operator_silences")
async def operator_silences(world: World, act: Act) -> None:
    customer = world.person(act).customer
    await world.ask("POST", "/v1/silences", {"merchant_id": world.merchant_id, "customer_id": customer})
    world.word("silence", customer=customer)


@doing("operator_lifts_silence")
async def operator_lifts_silence(world: World, act: Act) -> None:
    customer = world.person(act).customer
    await world.ask("POST", "/v1/silences/end", {"merchant_id": world.merchant_id, "customer_id": customer})
    world.word("lifted", customer=customer)


@doing("policy")
async def policy(world: World, act: Act) -> None:
    """Another policy, for recoveries that open from now on."""
    await world.set_policy(act.how["document"])


# -- what breaks ---------------------------------------------------------------------------------


@doing("worker_dies")
async def worker_dies(world: World, act: Act) -> None:
    """At the so-many-th await of its next run."""
    world.dies_at = act.how["await"]


@doing("database_breaks")
async def database_breaks(world: World, act: Act) -> None:
    """The worker's connections end after the so-many-th request of its next runs."""
    world.cut_at = act.how["request"]


@doing("worker_away")
async def worker_away(world: World, act: Act) -> None:
    """No worker runs for some days."""
    world.away_until = world.now + act.how["days"] * DAY
    world.seen.away.append((world.now, world.away_until))


@doing("meanwhile")
async def meanwhile(world: World, act: Act) -> None:
    """Somebody acts in the middle of a request of the worker."""
    how = act.how
    then = Act(act.at, how["does"], act.who, how.get("how", {}))
    world.crossings.append(Crossing(then, how["method"], how["path"], how.get("nth", 1), how["before"]))
