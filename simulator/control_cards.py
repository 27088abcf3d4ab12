"""The control API of cards: renewed in place, pinned, changed in a merchant's own form, legacy sources."""

from simulator.cards import AUTOMATIC
from simulator.control import CONTROL, Ask, add_customer, add_subscription, renew
from simulator.invoicing import payment_of
from simulator.shapes import Json


@CONTROL.route("POST", "/payment_methods/{method}/renew")
async def renew_card(ask: Ask) -> Json:
    """`number`: a new number, else only a new date; `card`: fields and script; `events`: names of `cards.RENEWALS`."""
    account, method = ask.owned("payment_method", "method")
    events = tuple(ask.given.get("events", (AUTOMATIC,)))
    number = bool(ask.given.get("number", False))
    return ask.sim.cards.renew(account, method, ask.given.get("card", {}), number=number, events=events)


@CONTROL.route("POST", "/customers/{customer}/own_form")
async def own_form(ask: Ask) -> Json:
    """A card entered in the merchant's own form: attached, then (unless `default` is false) the customer's default."""
    account, customer = ask.owned("customer")
    card = ask.given.get("card", {})
    method = ask.sim.people.add_card(account, customer, card, default=False, announce=True)
    if ask.given.get("default", True):
        ask.sim.cards.default_by_form(account, customer, method["id"])
    return method


@CONTROL.route("POST", "/customers/{customer}/default")
async def change_default(ask: Ask) -> Json:
    """`payment_method` becomes the default; `by`: `form` (a pin stays) or `portal` (pins follow)."""
    account, customer = ask.owned("customer")
    method = ask.given["payment_method"]
    if method is not None:
        account.get("payment_method", method)
    if ask.given.get("by", "form") == "portal":
        ask.sim.people.set_default(account, customer, method, announce=True)
    else:
        ask.sim.cards.default_by_form(account, customer, method)
    return customer


@CONTROL.route("POST", "/subscriptions/{subscription}/pin")
async def pin(ask: Ask) -> Json:
    """`payment_method` becomes the subscription's own default; null: it has none any more."""
    account, subscription = ask.owned("subscription")
    method = ask.given["payment_method"]
    if method is not None:
        account.get("payment_method", method)
    ask.sim.cards.pin(account, subscription, method)
    return subscription


@CONTROL.route("POST", "/customers/{customer}/sources")
async def add_source(ask: Ask) -> Json:
    """A legacy `card` with its script, of `prefix` card or src; `default` makes it the `default_source`."""
    account, customer = ask.owned("customer")
    return ask.sim.cards.add_source(
        account,
        customer,
        ask.given.get("card", {}),
        prefix=ask.given.get("prefix", "card"),
        default=ask.given.get("default", True),
    )


@CONTROL.route("POST", "/source_renewals")
async def add_source_renewal(ask: Ask) -> Json:
    """As `/renewals`, of a customer who has a legacy card (`source`, of `prefix`) and no other payment method."""
    given = ask.given
    account = ask.sim.world.account(given["account"])
    made = await add_customer(ask)
    source = ask.sim.cards.add_source(
        account, made["customer"], given["source"], prefix=given.get("prefix", "card"), default=True, announce=False
    )
    wanted: Json = {name: given[name] for name in ("amount", "currency", "interval") if name in given}
    base = {"account": account.id, "customer": made["customer"]["id"]}
    subscription = await add_subscription(ask.about({}, {**base, **wanted}))
    invoice = (await renew(ask.about({"subscription": subscription["id"]}, {})))["invoice"]
    story = {"subscription": subscription, "invoice": invoice, "payment_intent": payment_of(account, invoice)[1]}
    return {**made, "payment_method": source, **story}
