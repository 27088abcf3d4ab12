"""Addresses of the page on which a customer unsubscribes: signed by the worker, read by the ingress.

RFC 8058 asks for an address that works without a login, and that nobody can forge. It contains the merchant's and the
customer's id, and never expires, because the link in an old email must still work.
"""

from dataclasses import dataclass
from typing import Self

from pydantic import SecretStr

from shared.crypto import BadSignature, Signer
from shared.ids import CustomerId, MerchantId

PATH = "/unsubscribe/"
NEVER = 253_402_300_799
"""The last second of the year 9999."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who gets an email, and may unsubscribe: a merchant (`merchants.id`) and one of its customers (`cus_…`)."""

    merchant_id: MerchantId
    customer_id: CustomerId


class UnsubscribePages:
    """Makes and reads the addresses. The first secret signs, all are accepted: to rotate, put a new one in front."""

    def __init__(self, secrets: tuple[bytes, ...], base: str) -> None:
        """`base` is where the ingress is reached from outside. Raises ValueError for a secret below 32 bytes."""
        if not secrets:
            raise ValueError("expected at least one secret")
        self._signers = tuple(Signer(secret, "unsubscribe") for secret in secrets)
        self._base = base.rstrip("/")

    @classmethod
    def of(cls, secrets: SecretStr, base: str = "") -> Self:
        """From comma-separated secrets."""
        return cls(tuple(part.strip().encode() for part in secrets.get_secret_value().split(",")), base)

    def address(self, recipient: Recipient) -> str:
        """The page of this recipient; the same in every email."""
        signed = self._signers[0].sign({"m": recipient.merchant_id, "c": recipient.customer_id}, NEVER)
        return f"{self._base}{PATH}{signed}"

    def recipient(self, token: str) -> Recipient:
        """The recipient whose page it is. Raises BadSignature for a token that none of the secrets signed."""
        for signer in self._signers:
            try:
                value = signer.verify(token, 0)
            except BadSignature:
                continue
            return Recipient(MerchantId(value["m"]), CustomerId(value["c"]))
        raise BadSignature("no secret of ours signed it")
