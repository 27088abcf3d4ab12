"""The signature scheme of Svix, which Resend uses for its webhooks.

HMAC-SHA256 over `<id>.<timestamp>.<raw body>` under the secret's bytes (base64 behind `whsec_`); the header holds one
`v1,<base64>` or several, separated by spaces, while a secret is rotated
(https://docs.svix.com/receiving/verifying-payloads/how-manual, read November 2026).
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence

PREFIX = "whsec_"
_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")


class BadSignature(Exception):
    """The message was not signed by the sender, or too long ago."""


def key_of(secret: str) -> bytes:
    """The bytes of a `whsec_…` secret. Raises ValueError."""
    encoded = secret.removeprefix(PREFIX)
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        key = b""
    if encoded == secret or len(key) < 16:
        raise ValueError("expected whsec_ and base64 of at least 16 bytes")
    return key


def verify(
    body: bytes, headers: Mapping[str, str], keys: Sequence[bytes], *, now: float, tolerance_seconds: float
) -> str:
    """The id of a message that one of the keys has signed, within the tolerance of `now` (Unix seconds).

    The id is the same in every repeat of the message. Raises BadSignature.
    """
    message_id, timestamp = headers.get("svix-id", ""), headers.get("svix-timestamp", "")
    if not _ID.fullmatch(message_id) or not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 12):
        raise BadSignature("the svix-id or svix-timestamp header is missing or malformed")
    if abs(now - int(timestamp)) > tolerance_seconds:
        raise BadSignature("the message is too old, or from the future")
    given = [
        encoded.encode()
        for version, _, encoded in (part.partition(",") for part in headers.get("svix-signature", "").split(" "))
        if version == "v1" and encoded.isascii()
    ]
    signed = f"{message_id}.{timestamp}.".encode() + body
    for key in keys:
        expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256))
        if any(hmac.compare_digest(expected, each) for each in given):
            return message_id
    raise BadSignature("no secret of this endpoint signed it")
