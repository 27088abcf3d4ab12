"""Amounts of money as people read them."""

import re
from decimal import Decimal

from babel.numbers import format_currency

from shared.money import Money

# Currencies whose minor unit at Stripe has other than two digits; it differs from ISO 4217 for ISK and UGX (two).
# https://docs.stripe.com/currencies#zero-decimal and #three-decimal, read October 2026
NO_DIGITS = frozenset(
    ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf")
)
THREE_DIGITS = frozenset(("bhd", "jod", "kwd", "omr", "tnd"))

# Babel puts a currency code of letters next to the number without the space that CLDR asks for (currencySpacing).
_CODE_MEETS_DIGIT = re.compile(r"(?<=[A-Z])(?=\d)|(?<=\d)(?=[A-Z])")


def readable(amount: Money, locale: str = "en_US") -> str:
    """`amount` with its currency's sign, written as usual in `locale`."""
    digits = 0 if amount.currency in NO_DIGITS else 3 if amount.currency in THREE_DIGITS else 2
    value = Decimal(amount.amount).scaleb(-digits)
    return _CODE_MEETS_DIGIT.sub("\xa0", str(format_currency(value, amount.currency.upper(), locale=locale)))
