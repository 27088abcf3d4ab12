"""The ingress does not start with secrets that cannot be right, and never shows them."""

import pytest
from pydantic import ValidationError

from services.ingress.settings import IngressSettings
from shared.settings import load


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("no_env_file"))
    monkeypatch.setenv("CITADEL_DATABASE_URL", "postgresql://u:p@127.0.0.1/citadel")
    monkeypatch.delenv("CITADEL_STRIPE_WEBHOOK_SECRETS", raising=False)


def test_several_secrets_are_read_from_one_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITADEL_STRIPE_WEBHOOK_SECRETS", "whsec_new, whsec_old")
    settings = IngressSettings()
    assert settings.signing_secrets == (b"whsec_new", b"whsec_old")
    assert "whsec_new" not in repr(settings)


def test_the_defaults_are_the_documented_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITADEL_STRIPE_WEBHOOK_SECRETS", "whsec_1")
    settings = IngressSettings()
    assert (settings.ingress_port, settings.webhook_tolerance_seconds, settings.max_event_bytes) == (8001, 300, 1 << 20)


@pytest.mark.parametrize("secrets", [",", "whsec_", "whsec_good,", "whsec_good,sk_live_wrong", "whsec_né", " "])
def test_a_secret_that_cannot_be_one_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, secrets: str) -> None:
    monkeypatch.setenv("CITADEL_STRIPE_WEBHOOK_SECRETS", secrets)
    with pytest.raises(ValidationError) as caught:
        IngressSettings()
    assert "must look like whsec_" in str(caught.value)
    assert "sk_live_wrong" not in str(caught.value)


def test_a_missing_secret_ends_the_start_with_the_variables_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        load(IngressSettings)
    assert caught.value.code == 2
    assert "CITADEL_STRIPE_WEBHOOK_SECRETS" in capsys.readouterr().err
