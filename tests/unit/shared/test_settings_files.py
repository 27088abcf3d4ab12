"""Every setting can be the content of a file that `<NAME>_FILE` names."""

import os
from pathlib import Path

import pytest
from pydantic import Field, SecretStr

from shared.settings import Settings, StripeSettings, load

URL = "postgresql://u:hunter2@h/d"


class Service(Settings, StripeSettings):
    """A service that calls Stripe, with a setting that may be absent."""

    resend_api_key: SecretStr | None = Field(None)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder that we stand in, without a variable of ours."""
    for name in [name for name in os.environ if name.startswith("CITADEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CITADEL_STRIPE_SECRET_KEY", "sk_test_hunter3")
    return tmp_path


def name_file(monkeypatch: pytest.MonkeyPatch, path: Path, content: str | bytes, setting: str) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.setenv(f"CITADEL_{setting}_FILE", str(path))


def problems(capsys: pytest.CaptureFixture[str]) -> list[str]:
    with pytest.raises(SystemExit) as ended:
        load(Service)
    assert ended.value.code == 2
    first, *lines = capsys.readouterr().err.splitlines()
    assert first.startswith(f"citadel cannot start: {len(lines)} setting(s)")
    return [line.strip() for line in lines]


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_setting_is_the_files_text_without_the_newline_at_its_end(
    place: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    name_file(monkeypatch, place / "url", URL + end, "DATABASE_URL")
    assert load(Service).database_url.get_secret_value() == URL


def test_only_one_newline_is_taken_off_and_no_space(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name_file(monkeypatch, place / "url", f"{URL} \n\n", "DATABASE_URL")
    assert load(Service).database_url.get_secret_value() == f"{URL} \n"


def test_numbers_come_from_files_too(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITADEL_DATABASE_URL", URL)
    name_file(monkeypatch, place / "seconds", "7.5\n", "STRIPE_TIMEOUT_SECONDS")
    assert load(Service).stripe_timeout_seconds == 7.5


def test_a_file_can_be_named_in_an_env_file(place: Path) -> None:
    (place / "url").write_text(URL)
    (place / ".env").write_text("CITADEL_DATABASE_URL_FILE=url\n")
    assert load(Service).database_url.get_secret_value() == URL


def test_the_environment_wins_over_a_file_that_an_env_file_names(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / ".env").write_text("CITADEL_DATABASE_URL_FILE=/there/is/nothing\n")
    monkeypatch.setenv("CITADEL_DATABASE_URL", URL)
    assert load(Service).database_url.get_secret_value() == URL


def test_a_file_that_the_environment_names_wins_over_an_env_file(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / ".env").write_text("CITADEL_DATABASE_URL=postgresql://other@h/d\n")
    name_file(monkeypatch, place / "url", URL, "DATABASE_URL")
    assert load(Service).database_url.get_secret_value() == URL


@pytest.mark.parametrize("in_env_file", [True, False])
def test_a_value_and_a_file_in_one_place_contradict_each_other(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], in_env_file: bool
) -> None:
    (place / "url").write_text(URL)
    if in_env_file:
        (place / ".env").write_text(f"CITADEL_DATABASE_URL={URL}\nCITADEL_DATABASE_URL_FILE=url\n")
    else:
        monkeypatch.setenv("CITADEL_DATABASE_URL", URL)
        monkeypatch.setenv("CITADEL_DATABASE_URL_FILE", "url")
    (problem,) = problems(capsys)
    assert problem.startswith("CITADEL_DATABASE_URL: ")
    assert "set CITADEL_DATABASE_URL or CITADEL_DATABASE_URL_FILE, not both" in problem


def test_files_that_cannot_be_read_are_listed_with_everything_else(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CITADEL_DATABASE_URL_FILE", str(place / "nothing"))
    name_file(monkeypatch, place / "bytes", b"\xff\xfe", "STRIPE_API_BASE")
    name_file(monkeypatch, place / "word", "soon", "SHUTDOWN_GRACE_SECONDS")
    monkeypatch.setenv("CITADEL_RESEND_API_KEY_FILE", str(place))
    monkeypatch.delenv("CITADEL_STRIPE_SECRET_KEY")
    found = dict(line.split(": ", 1) for line in problems(capsys))
    assert set(found) == {
        "CITADEL_DATABASE_URL",
        "CITADEL_STRIPE_API_BASE",
        "CITADEL_SHUTDOWN_GRACE_SECONDS",
        "CITADEL_RESEND_API_KEY",
        "CITADEL_STRIPE_SECRET_KEY",
    }
    assert "CITADEL_DATABASE_URL_FILE names a file that cannot be read: No such file" in found["CITADEL_DATABASE_URL"]
    assert "is not text" in found["CITADEL_STRIPE_API_BASE"]
    assert "Is a directory" in found["CITADEL_RESEND_API_KEY"]


def test_an_empty_file_is_as_good_as_none_where_a_setting_may_be_absent(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITADEL_DATABASE_URL", URL)
    name_file(monkeypatch, place / "key", "\n", "RESEND_API_KEY")
    assert load(Service).resend_api_key is None


def test_an_empty_file_of_a_needed_setting_is_named(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name_file(monkeypatch, place / "url", "", "DATABASE_URL")
    (problem,) = problems(capsys)
    assert problem.startswith("CITADEL_DATABASE_URL: ")
    assert "is empty" in problem


def test_a_secret_in_the_wrong_variable_is_not_shown(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CITADEL_DATABASE_URL_FILE", URL)
    (problem,) = problems(capsys)
    assert "hunter" not in problem
    assert "No such file" in problem


def test_a_wrong_value_in_a_file_is_not_shown(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name_file(monkeypatch, place / "url", "mysql://u:hunter2@h/d", "DATABASE_URL")
    (problem,) = problems(capsys)
    assert problem.startswith("CITADEL_DATABASE_URL: ")
    assert "hunter" not in problem
