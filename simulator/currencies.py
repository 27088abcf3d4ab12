"""What Stripe knows of a currency: how its amounts are written, and the least that it charges.

Amounts are integers of the currency's minor unit. Source: https://docs.stripe.com/currencies, as stored in
October 2026. ISK and UGX have no minor unit any more but are still written with two digits, both 0 (which is why UGX is
not among those without decimals here, as it is in Stripe's list); HUF and TWD have one that only payouts ignore.
"""

ZERO_DECIMAL = frozenset(
    {"bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"}
)
# Their last digit has to be 0.
THREE_DECIMAL = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})

# The least that Stripe charges, in minor units. Stripe's table goes by the currency that the merchant is paid out in;
# here a charge's own currency decides, because nothing is converted.
MINIMUM_CHARGE = {
    "aed": 200,
    "aud": 50,
    "bgn": 100,
    "brl": 50,
    "cad": 50,
    "chf": 50,
    "czk": 1_500,
    "dkk": 250,
    "eur": 50,
    "gbp": 30,
    "hkd": 400,
    "huf": 17_500,
    "inr": 50,
    "jpy": 50,
    "mxn": 1_000,
    "myr": 200,
    "nok": 300,
    "nzd": 50,
    "pln": 200,
    "ron": 200,
    "sek": 300,
    "sgd": 50,
    "thb": 1_000,
    "usd": 50,
}


def decimals(currency: str) -> int:
    """How many digits of an amount stand behind the point."""
    if currency in ZERO_DECIMAL:
        return 0
    return 3 if currency in THREE_DECIMAL else 2


def minimum(currency: str) -> int:
    """The least amount that can be charged, in minor units; 1 where Stripe's table has no row."""
    return MINIMUM_CHARGE.get(currency, 1)


def written(amount: int, currency: str) -> str:
    """`0.50 usd`, `50 jpy`, `0.500 kwd`."""
    places = decimals(currency)
    return f"{amount / 10**places:.{places}f} {currency}"
