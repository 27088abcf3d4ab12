"""The secrets of the stack in containers: made once, kept, and asked for where others issue them."""

from pathlib import Path

import pytest
from cryptography import x509

from console.compose.secrets import GIVEN, LOGINS, SecretsMissing, make_secrets, prepare
from console.compose.stack import Stack
from shared.crypto import KeyRing

URL = "https://pay.example.com"


def texts(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_a_first_start_makes_everything_but_what_others_issue(tmp_path: Path) -> None:
    prepared = prepare(tmp_path / "s", URL, simulator=False)
    assert set(prepared.missing) == {"stripe_secret_key", "stripe_webhook_secrets"}
    assert {*LOGINS, "owner_database_url", "encryption_keys", "state_secret", "tls_key"} <= set(prepared.made)
    KeyRing.parse(texts(tmp_path / "s")["encryption_keys"].strip())


def test_repeating_it_changes_nothing(tmp_path: Path) -> None:
    prepare(tmp_path, URL, simulator=True)
    before = texts(tmp_path)
    assert prepare(tmp_path, URL, simulator=True).made == ()
    assert texts(tmp_path) == before


def test_a_secret_that_was_removed_is_made_anew_and_the_others_stay(tmp_path: Path) -> None:
    """How docs/operations.md rotates a password."""
    prepare(tmp_path, URL, simulator=True)
    before = texts(tmp_path)
    (tmp_path / "worker_database_url").unlink()
    assert prepare(tmp_path, URL, simulator=True).made == ("worker_database_url",)
    after = texts(tmp_path)
    assert {name for name in after if after[name] != before[name]} == {"worker_database_url"}


def test_every_password_is_another_one(tmp_path: Path) -> None:
    prepare(tmp_path, URL, simulator=True)
    urls = [text.partition("//")[2].partition("@")[0] for name, text in texts(tmp_path).items() if name in LOGINS]
    assert len({url.partition(":")[2] for url in urls}) == len({url.partition(":")[0] for url in urls}) == len(LOGINS)


def test_nobody_else_enters_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    prepare(folder, URL, simulator=True)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_secret_that_was_given_is_kept(tmp_path: Path) -> None:
    (tmp_path / "stripe_secret_key").write_text("sk_test_ours\n")
    assert set(prepare(tmp_path, URL, simulator=False).missing) == {"stripe_webhook_secrets"}
    assert texts(tmp_path)["stripe_secret_key"] == "sk_test_ours\n"


def test_half_of_a_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tls_key").write_text("theirs")
    with pytest.raises(ValueError, match="tls_key is there without its other half"):
        prepare(tmp_path, URL, simulator=True)


def test_the_certificate_is_for_the_public_host_and_signed_by_the_authority(tmp_path: Path) -> None:
    prepare(tmp_path, URL, simulator=True)
    chain = x509.load_pem_x509_certificates((tmp_path / "tls_certificate").read_bytes())
    authority = x509.load_pem_x509_certificate((tmp_path / "tls_authority").read_bytes())
    chain[0].verify_directly_issued_by(authority)
    names = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["pay.example.com", "localhost", "edge"]


def test_missing_secrets_are_listed_with_their_files(tmp_path: Path) -> None:
    stack = Stack(settings={"CITADEL_SECRETS": str(tmp_path), "CITADEL_PUBLIC_URL": URL}, environment={})
    with pytest.raises(SecretsMissing) as missing:
        make_secrets(stack)
    for name, given in GIVEN.items():
        assert (f"{tmp_path / name}: {given.where}" in str(missing.value)) is given.needed
