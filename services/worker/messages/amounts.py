"""An amount in minor units as people read it."""

import re
from decimal import Decimal

from babel.numbers import format_currency

from shared.money import Money

# How many digits Stripe's minor unit has, where it is not two; not ISO 4217's in every case (ISK and UGX have two).
# https://docs.stripe.com/currencies#zero-decimal and #three-decimal, read October 2026
NO_DIGITS = frozenset(
    ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf")
)
THREE_DIGITS = frozenset(("bhd", "jod", "kwd", "omr", "tnd"))

# Babel sets a code of letters against the number, which it has to keep away from (CLDR, currencySpacing).
_CODE_MEETS_DIGIT = re.compile(r"(?<=[A-Z])(?=\d)|(?<=\d)(?=[A-Z])")


def readable(amount: Money, locale: str = "en_US") -> str:
    """`amount` with its currency's sign, as it is written in `locale`."""
    digits = 0 if amount.currency in NO_DIGITS else 3 if amount.currency in THREE_DIGITS else 2
    value = Decimal(amount.amount).scaleb(-digits)
    return _CODE_MEETS_DIGIT.sub("\xa0", str(format_currency(value, amount.currency.upper(), locale=locale)))
