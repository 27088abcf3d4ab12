"""The bank's own book: every movement of money, once, in order, never changed.

Nothing else in the simulator moves money. What is not in the book did not move: an invoice that is paid by a credit
note, by the customer's balance or outside Stripe has no row here. Each row belongs to a balance transaction of Stripe
(`GET /v1/balance_transactions`); a dispute and its fee are two rows of one transaction.
"""

from collections.abc import Callable
from dataclasses import dataclass

from simulator.shapes import DAY, Json
from simulator.world import Account, World


@dataclass(frozen=True, slots=True)
class Movement:
    """One movement, as the merchant's balance sees it: `amount` is positive for what comes in.

    `kind`: `charge`, `refund`, `refund_failed` (it came back), `dispute_withdrawn`, `dispute_reinstated` or `fee` (of a
    dispute or of a debit that failed). `source`: who made it (`renewal`, `stripe_retry`, `api_pay`, `hosted_page`,
    `merchant`, `bank`, `stripe`). `at` is simulated unix seconds, `amount` minor units of `currency`. Every row
    names its charge, and the invoice that the charge was for.
    """

    seq: int
    transaction: str
    at: int
    account: str
    kind: str
    source: str
    amount: int
    currency: str
    invoice: str | None
    charge: str
    refund: str | None = None
    dispute: str | None = None


# Kind: (the transaction's type of a card, that of other methods, Stripe's category for reports).
# https://docs.stripe.com/reports/balance-transaction-types
_TYPES = {
    "charge": ("charge", "payment", "charge"),
    "refund": ("refund", "payment_refund", "refund"),
    "refund_failed": ("refund_failure", "refund_failure", "refund_failure"),
    "dispute_withdrawn": ("adjustment", "adjustment", "dispute"),
    "dispute_reinstated": ("adjustment", "adjustment", "dispute_reversal"),
    "fee": ("stripe_fee", "stripe_fee", "fee"),
}


class Book:
    """The movements of all accounts; `check` gets each balance transaction when the simulator watches its shapes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.movements: list[Movement] = []
        self.check: Callable[[str, Json], None] | None = None

    def write(
        self,
        account: Account,
        kind: str,
        charge: Json,
        amount: int,
        source: str,
        *,
        refund: str | None = None,
        dispute: str | None = None,
        fee: int = 0,
    ) -> Json:
        """Books a movement and, with a `fee`, a second one for it; the balance transaction."""
        card = charge["payment_method_details"]["type"] == "card"
        of_card, of_others, category = _TYPES[kind]
        now = self._world.clock.now
        made = {
            "id": self._world.ids.new("txn", account.id),
            "object": "balance_transaction",
            "amount": amount,
            "available_on": now + 2 * DAY,
            "balance_type": "payments",
            "created": now,
            "currency": charge["currency"],
            "description": None,
            "exchange_rate": None,
            "fee": fee,
            "fee_details": [_fee(fee, charge["currency"])] if fee else [],
            "net": amount - fee,
            "reporting_category": category,
            "source": dispute or refund or charge["id"],
            "status": "pending",
            "type": of_card if card else of_others,
        }
        if self.check:
            self.check("balance_transaction", made)
        self._world.add(account, made)
        self._row(account, made["id"], kind, charge, amount, source, refund, dispute)
        if fee:
            self._row(account, made["id"], "fee", charge, -fee, "stripe", refund, dispute)
        return made

    def _row(
        self,
        account: Account,
        transaction: str,
        kind: str,
        charge: Json,
        amount: int,
        source: str,
        refund: str | None,
        dispute: str | None,
    ) -> None:
        self.movements.append(
            Movement(
                seq=len(self.movements) + 1,
                transaction=transaction,
                at=self._world.clock.now,
                account=account.id,
                kind=kind,
                source=source,
                amount=amount,
                currency=charge["currency"],
                invoice=account.billed.get(charge["payment_intent"]),
                charge=charge["id"],
                refund=refund,
                dispute=dispute,
            )
        )


def _fee(amount: int, currency: str) -> Json:
    return {"amount": amount, "application": None, "currency": currency, "description": None, "type": "stripe_fee"}
