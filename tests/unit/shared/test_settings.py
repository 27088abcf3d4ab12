"""A wrong setting stops the start with all problems listed, and no secret is shown."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.settings import Settings, StripeSettings, load

GOOD = {"CITADEL_DATABASE_URL": "postgresql://u:hunter2@h/d", "CITADEL_STRIPE_SECRET_KEY": "sk_test_hunter3"}


class Both(Settings, StripeSettings):
    """A service that calls Stripe."""


class BothTheOtherWay(StripeSettings, Settings):
    """The order of the bases is a matter of taste."""


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """No variable of ours, and no `.env`, but the two that are needed."""
    import os  # beside its one use

    for name in [name for name in os.environ if name.startswith("CITADEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def problems(capsys: pytest.CaptureFixture[str], settings: type[Settings] = Both) -> list[str]:
    with pytest.raises(SystemExit) as ended:
        load(settings)
    assert ended.value.code == 2
    first, *lines = capsys.readouterr().err.splitlines()
    assert first.startswith(f"citadel cannot start: {len(lines)} setting(s)")
    return [line.strip() for line in lines]


@pytest.mark.parametrize("settings", [Both, BothTheOtherWay])
def test_every_setting_has_the_prefix_whatever_the_order_of_the_bases(
    environment: pytest.MonkeyPatch, settings: type[Both]
) -> None:
    environment.setenv("STRIPE_TIMEOUT_SECONDS", "7")  # another program's variable
    environment.setenv("HOST", "elsewhere")
    environment.setenv("CITADEL_STRIPE_API_BASE", "http://127.0.0.1:1/")
    loaded = load(settings)
    assert loaded.stripe_secret_key.get_secret_value() == "sk_test_hunter3"
    assert loaded.stripe_api_base == "http://127.0.0.1:1"
    assert (loaded.stripe_timeout_seconds, loaded.host) == (20.0, "127.0.0.1")


def test_settings_come_from_an_env_file_too_and_the_environment_wins(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.delenv("CITADEL_STRIPE_SECRET_KEY")
    (tmp_path / ".env").write_text(
        "CITADEL_STRIPE_SECRET_KEY=sk_test_file\nCITADEL_HOST=0.0.0.0\nCITADEL_LOG_LEVEL=ERROR\nOTHER=1\n"
    )
    environment.setenv("CITADEL_LOG_LEVEL", "DEBUG")
    loaded = load(Both)
    assert loaded.stripe_secret_key.get_secret_value() == "sk_test_file"
    assert (loaded.host, loaded.log_level) == ("0.0.0.0", "DEBUG")  # noqa: S104 - read, not listened on


def test_an_empty_variable_is_as_good_as_none(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CITADEL_LOG_FORMAT", "")
    assert load(Both).log_format == "json"


def test_everything_that_is_missing_is_listed_at_once(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in GOOD:
        environment.delenv(name)
    assert sorted(problems(capsys)) == [f"{name}: Field required" for name in sorted(GOOD)]


WRONG = [
    ("DATABASE_URL", "mysql://u:hunter2@h/d", "expected postgresql://"),
    ("STRIPE_API_BASE", "api.stripe.com", "https:// or http://"),
    ("LOG_FORMAT", "xml", "'json' or 'console'"),
    ("SHUTDOWN_GRACE_SECONDS", "0", "greater than 0"),
    ("STRIPE_TIMEOUT_SECONDS", "81", "less than or equal to 80"),
]


@pytest.mark.parametrize(("name", "value", "why"), WRONG)
def test_a_wrong_value_is_named_with_what_was_expected(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, why: str
) -> None:
    environment.setenv(f"CITADEL_{name}", value)
    (problem,) = problems(capsys)
    assert problem.startswith(f"CITADEL_{name}: ")
    assert why in problem
    assert "hunter" not in problem


def test_secrets_are_not_printed_with_the_settings(environment: pytest.MonkeyPatch) -> None:
    loaded = load(Both)
    assert isinstance(loaded.database_url, SecretStr)
    assert "hunter" not in f"{loaded} {loaded!r} {loaded.model_dump()} {loaded.model_dump_json()}"


def test_settings_do_not_change_once_loaded(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(Both).host = "elsewhere"
