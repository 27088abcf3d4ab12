"""Encryption at rest is bound to its row and rotates; signatures take nothing but what was signed."""

import base64

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.crypto import BadSignature, CryptoError, KeyRing, Signer, Undecryptable, UnknownKey

OLD, NEW = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))
RING = KeyRing.parse(f"old:{OLD}")
ROTATED = KeyRing.parse(f"new:{NEW}, old:{OLD}")
SIGNER = Signer(b"s" * 32, "test")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
rows = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
printable = st.characters(min_codepoint=33, max_codepoint=0x2FF)


# -- the key ring --------------------------------------------------------------------------------


@given(texts, rows)
def test_what_was_encrypted_for_a_row_is_decrypted_for_it(text: str, row: str) -> None:
    assert RING.decrypt(RING.encrypt(text, row), row) == text


@given(texts, rows, rows)
def test_a_token_that_was_moved_to_another_row_cannot_be_read(text: str, row: str, other: str) -> None:
    assume(row != other)
    with pytest.raises(Undecryptable):
        RING.decrypt(RING.encrypt(text, row), other)


@given(texts, st.data())
def test_no_changed_byte_gives_another_text(text: str, data: st.DataObject) -> None:
    token = RING.encrypt(text, "row")
    prefix, _, encoded = token.rpartition(".")
    raw = bytearray(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    changed = base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")
    with pytest.raises(Undecryptable):
        RING.decrypt(f"{prefix}.{changed}", "row")


@given(texts, st.integers(0, 400))
def test_a_token_that_was_cut_off_cannot_be_read(text: str, length: int) -> None:
    token = RING.encrypt(text, "row")
    assume(length < len(token))
    with pytest.raises(CryptoError):
        RING.decrypt(token[:length], "row")


@given(st.text(max_size=100))
def test_garbage_is_refused_and_nothing_else_is_raised(garbage: str) -> None:
    for token in (garbage, f"v1.old.{garbage}", f"v1.{garbage}.AAAA"):
        with pytest.raises(CryptoError):
            RING.decrypt(token, "row")


@given(texts)
def test_the_same_text_is_never_encrypted_to_the_same_token(text: str) -> None:
    assert len({RING.encrypt(text, "row") for _ in range(20)}) == 20


def test_a_token_shows_neither_its_text_nor_its_row() -> None:
    token = RING.encrypt("sk_live_verysecret", "merchants:acct_1:access_token")
    assert token.startswith("v1.old.")
    raw = base64.urlsafe_b64decode(token.split(".")[2] + "==")
    assert b"sk_live" not in raw
    assert b"acct_1" not in raw


@given(texts)
def test_a_rotated_ring_reads_the_old_key_and_writes_the_new_one(text: str) -> None:
    before = RING.encrypt(text, "row")
    after = ROTATED.encrypt(text, "row")
    assert ROTATED.decrypt(before, "row") == ROTATED.decrypt(after, "row") == text
    assert (ROTATED.is_current(before), ROTATED.is_current(after)) == (False, True)
    with pytest.raises(UnknownKey, match="'new'"):
        RING.decrypt(after, "row")


def test_a_token_cannot_be_passed_off_as_encrypted_under_another_key() -> None:
    token = ROTATED.encrypt("text", "row")
    with pytest.raises(Undecryptable):
        ROTATED.decrypt(token.replace(".new.", ".old."), "row")


def test_a_key_id_that_begins_like_another_is_another() -> None:
    ring = KeyRing.parse(f"k1:{NEW},k10:{OLD}")
    assert not ring.is_current(KeyRing.parse(f"k10:{OLD}").encrypt("text", "row"))


def test_a_generated_key_is_a_key_and_always_another() -> None:
    keys = {KeyRing.generate() for _ in range(50)}
    assert len(keys) == 50
    for key in keys:
        KeyRing.parse(f"k:{key}")


WRONG_RINGS = [
    ("", "at least one key"),
    (" , ", "at least one key"),
    (OLD, "separated by commas"),
    ("k1:", "0 bytes, expected 32"),
    ("k1:c2hvcnQ=", "5 bytes, expected 32"),
    ("k1:not base64!", "key 1 is not"),
    (f"k1:{OLD},k1:{NEW}", "key 2 occurs twice"),
    (f"k.1:{OLD}", "id of key 1"),
    (f":{OLD}", "id of key 1"),
    (f"{'k' * 33}:{OLD}", "id of key 1"),
]


@pytest.mark.parametrize(("text", "why"), WRONG_RINGS)
def test_a_ring_that_is_written_wrong_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        KeyRing.parse(text)


@pytest.mark.parametrize(
    "text", [f"{OLD}:k1", f"k1:{NEW},{OLD}:k2", f"{OLD}:{NEW}", f"k1:{OLD}x", OLD, f"k1:{OLD}{NEW}"]
)
def test_no_error_about_a_ring_shows_key_material(text: str) -> None:
    with pytest.raises(ValueError, match=r"key|<id>") as error:
        KeyRing.parse(text)
    assert OLD[:8] not in str(error.value)
    assert NEW[:8] not in str(error.value)


# -- the signer ----------------------------------------------------------------------------------

values = st.dictionaries(texts, texts, max_size=4)
times = st.integers(0, 2**40)


@given(values, times, times)
def test_what_was_signed_is_verified_until_it_expires(value: dict[str, str], expires_at: int, now: int) -> None:
    signed = SIGNER.sign(value, expires_at)
    if now <= expires_at:
        assert SIGNER.verify(signed, now) == value
    else:
        with pytest.raises(BadSignature, match="expired"):
            SIGNER.verify(signed, now)


@given(values, st.data())
def test_no_other_text_is_verified_however_little_it_differs(value: dict[str, str], data: st.DataObject) -> None:
    signed = SIGNER.sign(value, 100)
    place = data.draw(st.integers(0, len(signed) - 1))
    other = signed[:place] + data.draw(printable) + signed[place + 1 :]
    assume(other != signed)
    with pytest.raises(BadSignature):
        SIGNER.verify(other, 0)


@given(st.one_of(st.text(max_size=100), st.text(printable, max_size=100).map(lambda text: f"{text}.{text}")))
def test_garbage_is_no_signature_and_nothing_else_is_raised(garbage: str) -> None:
    with pytest.raises(BadSignature):
        SIGNER.verify(garbage, 0)


@pytest.mark.parametrize("garbage", ["\udcff.x", "x.\udcff", "", ".", "..", "a.b.c", "é.é"])
def test_bytes_that_are_no_text_are_no_signature_either(garbage: str) -> None:
    with pytest.raises(BadSignature):
        SIGNER.verify(garbage, 0)


def test_every_character_of_the_signature_counts() -> None:
    """The last one too: base64 would decode four spellings of it to the same bytes."""
    signed = SIGNER.sign({"a": "b"}, 100)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    accepted = []
    for last in alphabet:
        try:
            SIGNER.verify(signed[:-1] + last, 0)
        except BadSignature:
            continue
        accepted.append(last)
    assert accepted == [signed[-1]]


def test_a_signature_is_good_for_one_purpose_and_one_secret() -> None:
    signed = SIGNER.sign({"a": "b"}, 100)
    for other in (Signer(b"s" * 32, "other"), Signer(b"t" * 32, "test")):
        with pytest.raises(BadSignature):
            other.verify(signed, 0)


@given(values)
def test_a_signed_value_travels_in_a_url_as_it_is(value: dict[str, str]) -> None:
    assert set(SIGNER.sign(value, 100)) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


def test_a_secret_that_is_too_short_is_refused_without_showing_it() -> None:
    with pytest.raises(ValueError, match="at least 32 bytes, not 31") as error:
        Signer(b"x" * 31, "test")
    assert "xxx" not in str(error.value)
