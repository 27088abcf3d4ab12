"""The ledger's role may do what its API does, and nothing else."""

import asyncpg

from shared.database import Role
from tests.conftest import OpenDatabase

REFUSED = [
    "SELECT access_token FROM merchants",
    "SELECT refresh_token FROM merchants",
    "SELECT stripe_user_id FROM merchants",
    "SELECT * FROM merchants",
    "UPDATE merchants SET status = 'disconnected'",
    "INSERT INTO merchants (stripe_connect_id) VALUES ('acct_x')",
    "UPDATE scheduled_tasks SET payload = '{}'",
    "UPDATE scheduled_tasks SET merchant_id = 'x'",
    "UPDATE scheduled_tasks SET task_type = 'x'",
    "UPDATE scheduled_tasks SET locked_by = 'x'",
    "UPDATE scheduled_tasks SET lease_expires_at = now()",
    "UPDATE scheduled_tasks SET unique_key = 'x'",
    "UPDATE scheduled_tasks SET recovery_id = gen_random_uuid()",
    "INSERT INTO scheduled_tasks (merchant_id, task_type, payload, status) VALUES ('x', 'x', '{}', 'dead')",
    "INSERT INTO daily_metrics (merchant_id) VALUES ('x')",
    "UPDATE daily_metrics SET recovered_cents = 1",
    "DELETE FROM daily_metrics",
    "INSERT INTO merchant_totals (merchant_id, currency) VALUES ('x', 'usd')",
    "UPDATE merchant_totals SET recovered_cents = 1",
    "UPDATE recoveries SET amount_due = 1",
    "UPDATE recoveries SET opened_at = now()",
    "DELETE FROM recoveries",
    "UPDATE recovery_timeline SET rule = 'x'",
    "DELETE FROM recovery_timeline",
    "INSERT INTO recovery_transitions VALUES ('stopped', 'open')",
    "UPDATE left_alone SET customer_id = 'x'",
    "UPDATE attempts SET result = 'succeeded'",
    "INSERT INTO usage_logs (merchant_id, metric_type, created_at) VALUES ('x', 'recovery_recovered', now())",
    "UPDATE usage_logs SET amount = 1",
    "DELETE FROM usage_logs",
    "UPDATE idempotency_keys SET response_status = 200",
    "DELETE FROM idempotency_keys",
    "SELECT name FROM api_keys",
    "UPDATE api_keys SET revoked_at = NULL",
    "UPDATE silenced_customers SET customer_id = 'x'",
    "INSERT INTO card_warnings (merchant_id, customer_id) VALUES ('x', 'x')",
    "DELETE FROM card_warnings",
    "SELECT * FROM processed_events",
    "SELECT * FROM oauth_states",
    "UPDATE policies SET document = '{}'",
    "UPDATE policies SET merchant_id = 'x'",
    "DELETE FROM policies",
    "UPDATE recoveries SET policy_id = gen_random_uuid()",
]


async def test_the_ledger_cannot_do_what_is_not_its_own(open_database: OpenDatabase) -> None:
    async with open_database(Role.LEDGER) as database:
        for statement in REFUSED:
            try:
                async with database.transaction() as db:
                    await db.execute(statement)
            except asyncpg.InsufficientPrivilegeError:
                continue
            raise AssertionError(f"allowed: {statement}")
