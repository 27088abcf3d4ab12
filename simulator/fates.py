"""What each failed renewal's card and customer would do, whoever tries to collect it: for comparisons with other ways.

All of it was drawn before anything was tried; what has been tried since changes none of it.
"""

from dataclasses import dataclass

from simulator.payment import DECLINES
from simulator.world import Reaction, World


@dataclass(frozen=True, slots=True)
class Fate:
    """A failed renewal: the decline (`needs_3ds`: none, the bank asked for the customer), when the card is good again
    by itself (never: both are None), when it is renewed under its id (None: not), and what the customer does `delay`
    seconds after the `on_email`-th email.

    Times are simulated unix seconds; the decline's codes are as Stripe reports them.
    """

    invoice: str
    payment_method: str
    failed_at: int
    needs_3ds: bool
    code: str | None
    decline_code: str | None
    advice_code: str | None
    network_decline_code: str | None
    network_advice_code: str | None
    clears_at: int | None
    clears_after: int | None
    renewed_at: int | None
    reaction: str
    delay: int
    on_email: int


def fates(world: World) -> list[Fate]:
    """One for each renewal whose card failed, in the order of their failures. Bank debits have none: when one fails
    depends on when it was begun."""
    found = []
    for attempt in world.attempts:
        if attempt.source != "renewal" or attempt.outcome == "succeeded":
            continue
        account = world.accounts[attempt.account]
        method = account.get("payment_method", attempt.payment_method)
        if method["type"] != "card":
            continue
        renewal = account.renewals.get(attempt.payment_method)
        if renewal is not None and renewal.at <= attempt.at:
            renewal = None  # It was this card that failed, not the one before it.
        script = renewal.was if renewal else account.scripts[attempt.payment_method]
        why = DECLINES[script.decline].on(method["card"]["brand"]) if script.decline else None
        reaction = account.reactions.get(account.get("invoice", attempt.invoice)["customer"], Reaction())
        found.append(
            Fate(
                invoice=attempt.invoice,
                payment_method=attempt.payment_method,
                failed_at=attempt.at,
                needs_3ds=script.needs_3ds,
                code=why.code if why else None,
                decline_code=why.decline_code if why else None,
                advice_code=why.advice_code if why else None,
                network_decline_code=why.network_decline_code if why else None,
                network_advice_code=why.network_advice_code if why else None,
                clears_at=script.clears_at,
                clears_after=script.clears_after,
                renewed_at=renewal.at if renewal else None,
                reaction=reaction.kind,
                delay=reaction.delay,
                on_email=reaction.on_email,
            )
        )
    return found
