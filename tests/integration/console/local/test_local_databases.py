"""What a service connects with on a server of ours: a login that can become its role, and nothing else."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import pytest

from console.local import store
from console.local.databases import embedded_url, given, without_password
from console.local.process import LocalStackError
from shared.database import Database, Role


def _as(url: str, login: str, password: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{login}:{quote(password, safe='')}@{host}"))


@pytest.fixture
async def ingress_url(database_url: str) -> AsyncIterator[str]:
    login, password = await store.make_login(database_url, Role.INGRESS)
    yield _as(database_url, login, password)
    owner = await asyncpg.connect(database_url)
    try:
        await owner.execute(f"DROP ROLE {login}")
    finally:
        await owner.close()


async def test_a_services_login_works_as_its_role(ingress_url: str) -> None:
    async with Database.open(ingress_url, Role.INGRESS, size=1) as database, database.transaction() as db:
        assert await db.fetchval("SELECT current_user") == "citadel_ingress"
        assert await db.fetchval("SELECT count(*) FROM processed_events") == 0


async def test_a_services_login_may_do_nothing_before_it_has_taken_its_role(ingress_url: str) -> None:
    async with Database.open(ingress_url, None, size=1) as database, database.transaction() as db:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await db.fetchval("SELECT count(*) FROM processed_events")


@pytest.mark.parametrize("other", [Role.WORKER, Role.AUTH, Role.LEDGER])
async def test_a_services_login_cannot_become_another_service(ingress_url: str, other: Role) -> None:
    with pytest.raises(asyncpg.PostgresError, match="permission denied"):
        async with Database.open(ingress_url, other, size=1) as database, database.transaction():
            raise AssertionError("it must not connect")


async def test_a_new_start_makes_the_old_password_useless(ingress_url: str, database_url: str) -> None:
    await store.make_login(database_url, Role.INGRESS)

    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(ingress_url)


async def test_a_given_database_that_is_away_is_named_without_its_password() -> None:
    with pytest.raises(LocalStackError, match=r"me:\*\*\*@127\.0\.0\.1:1/db") as refused:
        async with given("postgresql://me:secret-word@127.0.0.1:1/db"):
            raise AssertionError("nothing answers there")
    assert "secret-word" not in str(refused.value)


async def test_a_refused_login_is_named_without_its_password(database_url: str) -> None:
    wrong = _as(database_url, "nobody_at_all", "secret-word")

    with pytest.raises(LocalStackError, match="refused the login") as refused:
        async with given(wrong):
            raise AssertionError("it must not let us in")
    assert "secret-word" not in str(refused.value)


def test_a_url_without_a_password_is_printed_as_it_is() -> None:
    assert without_password("postgresql://127.0.0.1/citadel") == "postgresql://127.0.0.1/citadel"


def test_the_embedded_databases_url_is_known_only_after_its_first_start(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    assert embedded_url(folder) is None

    (tmp_path / "postgres.port").write_text("5499\n")
    (tmp_path / "postgres.password").write_text("pass/word\n")

    assert embedded_url(folder) == "postgresql://citadel:pass%2Fword@127.0.0.1:5499/citadel"
