"""Ids as types, so that the one is not given where the other is asked for. At run time each is its plain value.

Stripe's are text with a prefix; ours are UUIDs, or their text where a column holds text.
"""

from typing import NewType
from uuid import UUID

MerchantId = NewType("MerchantId", str)
"""`merchants.id` as text: what every tenant's row names."""

RecoveryId = NewType("RecoveryId", UUID)
"""`recoveries.id`."""

AccountId = NewType("AccountId", str)
"""`acct_…`: a merchant's account at Stripe."""

CustomerId = NewType("CustomerId", str)
"""`cus_…`: a customer of a merchant; the only thing that is kept about one."""

SubscriptionId = NewType("SubscriptionId", str)
"""`sub_…`."""

InvoiceId = NewType("InvoiceId", str)
"""`in_…`."""

PaymentMethodId = NewType("PaymentMethodId", str)
"""`pm_…`; a legacy card's `card_…` or `src_…`."""

PaymentIntentId = NewType("PaymentIntentId", str)
"""`pi_…`."""

ChargeId = NewType("ChargeId", str)
"""`ch_…` or `py_…`."""
