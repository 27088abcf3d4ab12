"""When there is enough money for an invoice: spans that begin with wages, in seconds since the epoch."""

from collections.abc import Iterable, Iterator
from math import exp, log
from random import Random
from typing import Final, assert_never

from console.evaluation.worlds.document import Balance, Funds, Stay

DAY: Final = 86_400.0


def spans(funds: Funds, wages: Iterable[float], amount: int, random: Random) -> Iterator[tuple[float, float]]:
    """For each arrival of wages, from when to when an invoice of `amount` minor units can be paid."""
    match funds:
        case Stay():
            for begins in wages:
                yield begins, begins - funds.days * DAY * log(1 - random.random())
        case Balance():
            for begins in wages:
                balance = funds.median * exp(funds.spread * random.gauss())
                if balance > amount:
                    yield begins, begins + funds.days * DAY * log(balance / amount)
        case _:
            assert_never(funds)
