"""Merchants' OAuth tokens at rest: encrypted, and each bound to its row and column.

A token that is copied into another row or column cannot be decrypted there: the additional data of AES-256-GCM names
table, account and column.
"""

from uuid import UUID

from services.auth import store
from shared.crypto import CryptoError, KeyRing
from shared.database import Database
from shared.ids import AccountId
from shared.logging import get_logger

log = get_logger(__name__)

_BATCH = 100
_START = UUID(int=0)


class RotationIncomplete(Exception):
    """Some tokens cannot be decrypted with this ring; all others are under the current key now.

    Keep every old key. `merchant_ids` are the merchants concerned; connecting again gives them new tokens.
    """

    def __init__(self, reencrypted: int, merchant_ids: list[str]) -> None:
        super().__init__(
            f"{len(merchant_ids)} merchant(s) have a token that this key ring cannot decrypt: "
            f"{', '.join(merchant_ids)}. Keep every old key in CITADEL_ENCRYPTION_KEYS, or have them connect again."
        )
        self.reencrypted = reencrypted
        self.merchant_ids = merchant_ids


def place_of(stripe_connect_id: AccountId, column: str) -> str:
    """What a token is bound to; `column` is access_token or refresh_token."""
    return f"merchants:{stripe_connect_id}:{column}"


def seal(ring: KeyRing, token: str | None, stripe_connect_id: AccountId, column: str) -> str | None:
    """The token as it is stored; None stays None."""
    return None if token is None else ring.encrypt(token, place_of(stripe_connect_id, column))


def unseal(ring: KeyRing, stored: str | None, stripe_connect_id: AccountId, column: str) -> str | None:
    """The token itself. Raises CryptoError."""
    return None if stored is None else ring.decrypt(stored, place_of(stripe_connect_id, column))


async def reencrypt_tokens(database: Database, ring: KeyRing) -> int:
    """Encrypt again every token that is not under the ring's current key; how many were.

    Commits batch by batch, so it can be interrupted and run again, and services go on meanwhile. Raises
    RotationIncomplete at its end when some tokens could not be decrypted, DatabaseAway.
    """
    after, count, failed = _START, 0, list[str]()
    while True:
        async with database.transaction() as db:
            rows = await store.lock_tokens(db, after, _BATCH)
            for row in rows:
                try:
                    renewed = _renew(ring, row)
                except CryptoError as error:
                    log.warning("undecryptable", merchant_id=str(row.merchant_id), reason=str(error))
                    failed.append(str(row.merchant_id))
                    continue
                if renewed is not None:
                    await store.save_tokens(db, renewed)
                    count += _changed(row, renewed)
        if not rows:
            break
        after = rows[-1].merchant_id
    if failed:
        raise RotationIncomplete(count, failed)
    return count


def _renew(ring: KeyRing, row: store.Tokens) -> store.Tokens | None:
    """The row under the current key; None when it is under that key already."""
    stored = {"access_token": row.access_token, "refresh_token": row.refresh_token}
    renewed = {
        column: token
        if token is None or ring.is_current(token)
        else seal(ring, unseal(ring, token, row.stripe_connect_id, column), row.stripe_connect_id, column)
        for column, token in stored.items()
    }
    return None if renewed == stored else store.Tokens(row.merchant_id, row.stripe_connect_id, **renewed)


def _changed(before: store.Tokens, after: store.Tokens) -> int:
    return (before.access_token != after.access_token) + (before.refresh_token != after.refresh_token)
