"""`.env.example` names every setting of every service, with the default that the code has."""

import re
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from services.auth.settings import AuthSettings
from services.ingress.settings import IngressSettings
from services.ledger.settings import LedgerSettings
from services.worker.settings import WorkerSettings

EXAMPLE = (Path(__file__).parents[2] / ".env.example").read_text()
SETTINGS: list[type[BaseSettings]] = [IngressSettings, WorkerSettings, AuthSettings, LedgerSettings]

documented = {
    name: (off == "#", value) for off, name, value in re.findall(r"^(#?)(CITADEL_\w+)=(.*)$", EXAMPLE, re.MULTILINE)
}
known = {f"CITADEL_{name.upper()}": field for each in SETTINGS for name, field in each.model_fields.items()}


def test_every_setting_is_explained_and_nothing_else() -> None:
    assert set(documented) == set(known)


@pytest.mark.parametrize("name", sorted(known))
def test_a_default_is_the_one_that_the_code_has(name: str) -> None:
    commented, value = documented[name]
    field = known[name]
    if field.is_required():
        assert not commented or name == "CITADEL_DATABASE_URL"  # `make up-local` brings one
    else:
        assert commented
        assert value == ("" if field.default is None else str(field.default))


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_setting_says_what_it_is(settings: type[BaseSettings]) -> None:
    assert [name for name, field in settings.model_fields.items() if not field.description] == []
