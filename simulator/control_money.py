"""The part of the control API that moves money in other ways than a card's charge, and reads the bank's book."""

from dataclasses import asdict

from simulator.control import CONTROL, Ask
from simulator.shapes import DAY, Json


@CONTROL.route("POST", "/customers/{customer}/debits")
async def add_debit(ask: Ask) -> Json:
    """A bank account added by the customer: `debit`; `default: false` leaves the old method the default."""
    account, customer = ask.owned("customer")
    default = ask.given.get("default", True)
    return ask.sim.people.add_debit(account, customer, ask.given["debit"], default=default, announce=True)


@CONTROL.route("POST", "/payment_methods/{payment_method}/debit_script")
async def set_debit_script(ask: Ask) -> Json:
    """A new script for a bank account: `{}` makes it pay. Debits that are under way end by it."""
    account, method = ask.owned("payment_method")
    account.debits[method["id"]] = ask.sim.people.debit_script(method["type"], ask.given)
    return asdict(account.debits[method["id"]])


@CONTROL.route("POST", "/charges/{charge}/end")
async def end_debit(ask: Ask) -> Json:
    """Ends a debit that is under way: paid, or failed for the reason `fails`."""
    account, charge = ask.owned("charge")
    return ask.sim.debits.end(account, charge, ask.given.get("fails"))


@CONTROL.route("POST", "/charges/{charge}/return")
async def return_debit(ask: Ask) -> Json:
    """The bank takes a paid debit back for a `reason` in `bank_accounts.FAILURES`; the dispute."""
    account, charge = ask.owned("charge")
    return ask.sim.debits.give_back(account, charge, ask.given.get("reason", "insufficient_funds"))


@CONTROL.route("POST", "/invoices/{invoice}/payments")
async def attach_payment(ask: Ask) -> Json:
    """The merchant charges `amount` towards the invoice: with a `payment_method` of the customer, a new `debit`, or
    a new `card` (a good one if nothing is said)."""
    account, invoice = ask.owned("invoice")
    customer = account.get("customer", invoice["customer"])
    people = ask.sim.people
    if "payment_method" in ask.given:
        method = account.get("payment_method", ask.given["payment_method"])
    elif "debit" in ask.given:
        method = people.add_debit(account, customer, ask.given["debit"], default=False, announce=True)
    else:
        method = people.add_card(account, customer, ask.given.get("card", {}), default=False, announce=True)
    return ask.sim.part_payments.attach(account, invoice, method, ask.given["amount"])


@CONTROL.route("POST", "/invoices/{invoice}/credit_notes")
async def credit_note(ask: Ask) -> Json:
    """`amount`; of what was paid: `refund_amount`, `credit_amount`, `out_of_band_amount`."""
    account, invoice = ask.owned("invoice")
    return ask.sim.credit_notes.issue(account, invoice, **ask.given)


@CONTROL.route("POST", "/customers/{customer}/balance")
async def change_balance(ask: Ask) -> Json:
    """Adds `amount` to the customer's balance: negative is credit, positive is owed; the transaction."""
    account, customer = ask.owned("customer")
    return ask.sim.balances.change(account, customer, ask.given["amount"])


@CONTROL.route("POST", "/invoices/{invoice}/payment_attempt_required")
async def attempt_required(ask: Ask) -> Json:
    """Stripe asks the merchant to collect the invoice with a payment method that it cannot charge itself."""
    account, invoice = ask.owned("invoice")
    event = ask.sim.events.emit(account, "invoice.payment_attempt_required", invoice)
    return {"event": event.id}


@CONTROL.route("POST", "/refunds/{refund}/end")
async def end_refund(ask: Ask) -> Json:
    """A refund succeeds, or fails for the reason `fails`, also after it had succeeded."""
    account, refund = ask.owned("refund")
    return ask.sim.money_back.end_refund(account, refund, ask.given.get("fails"))


@CONTROL.route("POST", "/disputes/{dispute}/end")
async def end_dispute(ask: Ask) -> Json:
    """A dispute ends: `status` is `won` or `lost`."""
    account, dispute = ask.owned("dispute")
    return ask.sim.money_back.end_dispute(account, dispute, ask.given["status"])


@CONTROL.route("POST", "/charges/{charge}/refund")
async def refund(ask: Ask) -> Json:
    """`amount` (all by default), `takes_days`, `fails` (a reason); the refund."""
    account, charge = ask.owned("charge")
    days = ask.given.get("takes_days")
    takes = None if days is None else int(days * DAY)
    return ask.sim.money_back.refund(
        account, charge, ask.given.get("amount"), fails=ask.given.get("fails"), takes=takes
    )


@CONTROL.route("POST", "/charges/{charge}/dispute")
async def dispute(ask: Ask) -> Json:
    """`reason`, `amount` (all by default), `ends` (won or lost) `ends_days` later; the dispute."""
    account, charge = ask.owned("charge")
    return ask.sim.money_back.dispute(
        account,
        charge,
        ask.given.get("reason", "fraudulent"),
        ask.given.get("amount"),
        ends=ask.given.get("ends"),
        ends_in=int(ask.given.get("ends_days", 0) * DAY),
    )


@CONTROL.route("GET", "/book")
async def book(ask: Ask) -> list[Json]:
    """The bank's book, oldest first; `account`, `invoice` and `charge` narrow it."""
    wanted = {name: ask.given[name] for name in ("account", "invoice", "charge") if name in ask.given}
    return [
        asdict(found)
        for found in ask.sim.book.movements
        if all(getattr(found, name) == value for name, value in wanted.items())
    ]
