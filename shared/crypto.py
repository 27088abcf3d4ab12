"""Encryption at rest and signatures.

    CryptoError
     ├── UnknownKey        encrypted under a key that is not in the ring: put the old key back
     ├── Undecryptable     damaged, cut off, or moved to another row
     └── BadSignature      a signed value that is forged, damaged or expired

A token is stored as `v1.<key id>.<base64url of nonce and ciphertext>`: AES-256-GCM with a random 96-bit nonce, bound
to its row by the additional data. The ring's first key encrypts; all keys decrypt. To rotate, put a new key in front,
and drop the old one when nothing is encrypted under it any more.
"""

import base64
import hashlib
import hmac
import os
import re
from collections.abc import Mapping
from typing import Self

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = "v1"
_NONCE_BYTES = 12
_KEY_BYTES = 32
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


class CryptoError(Exception):
    """The base of this module's errors. Messages never hold key material or plaintext."""


class UnknownKey(CryptoError):
    """The value names a key id that the ring does not hold."""


class Undecryptable(CryptoError):
    """The value is damaged, cut off, or was encrypted for another row."""


class BadSignature(CryptoError):
    """The signed value is forged, damaged or too old."""


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


class KeyRing:
    """AES-256-GCM under named keys; the first encrypts, all decrypt."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """`keys` maps a key id (letters, digits, `_`, `-`) to 32 bytes, the encrypting one first.

        Raises ValueError when there is none, an id is malformed, or a key has another length.
        """
        if not keys:
            raise ValueError("expected at least one key: <id>:<base64 of 32 bytes>")
        for number, (key_id, key) in enumerate(keys.items(), start=1):
            # The id is not shown: if key and id were swapped by mistake, the key would be in a log.
            if not _KEY_ID.fullmatch(key_id):
                raise ValueError(f"the id of key {number} is not 1 to 32 letters, digits, _ or -")
            if len(key) != _KEY_BYTES:
                raise ValueError(f"key {key_id!r} has {len(key)} bytes, expected {_KEY_BYTES}")
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._current = next(iter(keys))

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `<id>:<base64>,<id>:<base64>…`, as in CITADEL_ENCRYPTION_KEYS. Raises ValueError."""
        keys: dict[str, bytes] = {}
        items = filter(None, (part.strip() for part in text.split(",")))
        for number, item in enumerate(items, start=1):
            key_id, separator, encoded = item.partition(":")
            if not separator:
                raise ValueError("expected <id>:<base64 of 32 bytes>, separated by commas")
            if key_id in keys:
                raise ValueError(f"the id of key {number} occurs twice")
            try:
                keys[key_id] = base64.b64decode(encoded, validate=True)
            except ValueError:
                raise ValueError(f"key {number} is not <id>:<base64>: what follows the colon is not base64") from None
        return cls(keys)

    @staticmethod
    def generate() -> str:
        """A new key as base64, for a line of the ring."""
        return base64.b64encode(os.urandom(_KEY_BYTES)).decode()

    def encrypt(self, plaintext: str, row: str) -> str:
        """Encrypt for one row: `row` names table, column and key, and is needed again to decrypt."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[self._current].encrypt(nonce, plaintext.encode(), row.encode())
        return f"{_VERSION}.{self._current}.{_encode(nonce + sealed)}"

    def decrypt(self, token: str, row: str) -> str:
        """The plaintext. Raises UnknownKey or Undecryptable."""
        version, _, rest = token.partition(".")
        key_id, separator, encoded = rest.partition(".")
        if version != _VERSION or not separator:
            raise Undecryptable(f"expected {_VERSION}.<key id>.<data>")
        if key_id not in self._ciphers:
            raise UnknownKey(f"encrypted under key {key_id!r}, which is not in CITADEL_ENCRYPTION_KEYS")
        try:
            raw = _decode(encoded)
            opened = self._ciphers[key_id].decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], row.encode())
        except (InvalidTag, ValueError) as error:
            raise Undecryptable("damaged, or encrypted for another row") from error
        return opened.decode()

    def is_current(self, token: str) -> bool:
        """Whether the token is encrypted under the ring's first key; if not, encrypt it again."""
        return token.startswith(f"{_VERSION}.{self._current}.")


class Signer:
    """HMAC-SHA256 over a small JSON object with an expiry: values that go through a browser and come back."""

    def __init__(self, secret: bytes, purpose: str) -> None:
        """`purpose` separates uses of one secret. Raises ValueError for a secret of fewer than 32 bytes."""
        if len(secret) < _KEY_BYTES:
            raise ValueError(f"a signing secret has at least {_KEY_BYTES} bytes, not {len(secret)}")
        self._key = hmac.digest(secret, purpose.encode(), hashlib.sha256)

    def sign(self, value: Mapping[str, str], expires_at: int) -> str:
        """A URL-safe text that `verify` turns back into `value` until `expires_at` (Unix seconds)."""
        body = _encode(orjson.dumps({"v": dict(value), "exp": expires_at}))
        return f"{body}.{self._signature(body)}"

    def _signature(self, body: str) -> str:
        return _encode(hmac.digest(self._key, body.encode(), hashlib.sha256))

    def verify(self, signed: str, now: int) -> dict[str, str]:
        """The value that was signed. Raises BadSignature when it is forged, damaged or expired at `now`."""
        if not signed.isascii():
            raise BadSignature("not a signed value")
        body, _, signature = signed.partition(".")
        # The texts are compared, not the decoded bytes: base64 has several spellings of the same bytes.
        if not hmac.compare_digest(signature, self._signature(body)):
            raise BadSignature("the signature does not match")
        content = orjson.loads(_decode(body))
        if content["exp"] < now:
            raise BadSignature("expired")
        value: dict[str, str] = content["v"]
        return value
