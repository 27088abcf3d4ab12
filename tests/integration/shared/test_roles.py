"""Each service's database role may do what its service does, and nothing else."""

import asyncpg
import pytest

from shared.database import Database, Role
from tests.conftest import OpenDatabase

# role → statements that must be refused
REFUSED = [
    (Role.INGRESS, "SELECT access_token FROM merchants"),
    (Role.INGRESS, "SELECT refresh_token FROM merchants"),
    (Role.INGRESS, "SELECT * FROM merchants"),
    (Role.INGRESS, "INSERT INTO merchants (stripe_connect_id) VALUES ('acct_x')"),
    (Role.INGRESS, "SELECT * FROM usage_logs"),
    (Role.INGRESS, "UPDATE attempts SET result = 'succeeded'"),
    (Role.INGRESS, "DELETE FROM scheduled_tasks"),
    (Role.INGRESS, "SELECT * FROM api_keys"),
    (Role.WORKER, "SELECT access_token FROM merchants"),
    (Role.WORKER, "UPDATE daily_metrics SET recovered_cents = 1"),
    (Role.WORKER, "UPDATE usage_logs SET amount = 1"),
    (Role.WORKER, "DELETE FROM usage_logs"),
    (Role.WORKER, "UPDATE policies SET document = '{}'"),
    (Role.WORKER, "DELETE FROM recovery_timeline"),
    (Role.WORKER, "UPDATE recovery_timeline SET rule = ''"),
    (Role.WORKER, "SELECT * FROM api_keys"),
    (Role.WORKER, "INSERT INTO pool_opt_outs (merchant_id) VALUES ('m')"),
    (Role.WORKER, "DELETE FROM pool_opt_outs"),
    (Role.AUTH, "SELECT * FROM usage_logs"),
    (Role.AUTH, "DELETE FROM merchants"),
    (Role.AUTH, "UPDATE recoveries SET amount_due = 1"),
    (Role.AUTH, "SELECT * FROM attempts"),
    (Role.LEDGER, "SELECT access_token FROM merchants"),
    (Role.LEDGER, "UPDATE merchants SET tier = 'PRO'"),
    (Role.LEDGER, "SELECT belief FROM learned_beliefs"),
    (Role.LEDGER, "UPDATE learned_beliefs SET recoveries = 1"),
    (Role.INGRESS, "SELECT learned_at FROM learned_beliefs"),
    (Role.AUTH, "SELECT learned_at FROM learned_beliefs"),
    (Role.LEDGER, "UPDATE scheduled_tasks SET payload = '{}'"),
    (Role.LEDGER, "UPDATE scheduled_tasks SET fence = 0"),
    (Role.LEDGER, "UPDATE scheduled_tasks SET merchant_id = 'other'"),
    (Role.LEDGER, "UPDATE recoveries SET amount_due = 1"),
    (Role.LEDGER, "UPDATE recoveries SET policy_id = gen_random_uuid()"),
    (Role.LEDGER, "UPDATE recovery_timeline SET rule = ''"),
    (Role.LEDGER, "INSERT INTO usage_logs (merchant_id, metric_type, created_at) VALUES ('m', 'attempt', now())"),
    (Role.LEDGER, "UPDATE daily_metrics SET recovered_cents = 1"),
    (Role.LEDGER, "UPDATE api_keys SET scopes = '{}'"),
]


@pytest.mark.parametrize(("role", "statement"), REFUSED)
async def test_a_service_cannot_do_what_is_not_its_own(open_database: OpenDatabase, role: Role, statement: str) -> None:
    async with open_database(role) as database, database.transaction() as db:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await db.execute(statement)


@pytest.mark.parametrize("role", list(Role))
async def test_no_service_may_travel_in_time_or_change_the_schema(open_database: OpenDatabase, role: Role) -> None:
    for statement in ("INSERT INTO test_clock (clock_offset) VALUES ('1 day')", "CREATE TABLE mine (id int)"):
        async with open_database(role) as opened, opened.transaction() as db:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await db.execute(statement)


@pytest.mark.parametrize("role", list(Role))
async def test_every_service_can_tell_whether_the_schema_is_the_expected_one(
    open_database: OpenDatabase, role: Role, database: Database
) -> None:
    async with open_database(role) as opened:
        assert await opened.schema_revision() == await database.schema_revision()
