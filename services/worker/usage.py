"""The SQL of reporting usage: when a report may first have been sent."""

from datetime import datetime

from shared.database import Connection

# `sent_at` is the run that this one is; `doubtful_at` the first before it whose end nobody knows. Stripe's refusals,
# which `last_error` begins with, are known ends: that run reported nothing.
BEGIN_SENDING = """
UPDATE scheduled_tasks
SET payload = payload || jsonb_build_object(
        'sent_at', citadel_now(),
        'doubtful_at', CASE
            WHEN last_error ~ '^stripe: (400|401|402|403|404|429) ' THEN payload -> 'doubtful_at'
            ELSE COALESCE(NULLIF(payload -> 'doubtful_at', 'null'::jsonb), payload -> 'sent_at')
        END
    ),
    last_error = NULL
WHERE id = $1
RETURNING (payload ->> 'doubtful_at')::timestamptz AS doubtful_at, citadel_now() AS now
"""


async def begin_sending(db: Connection, task_id: int) -> tuple[datetime | None, datetime]:
    """Note that the task sends its report from now on: when one may have been sent before (None: never), and now."""
    row = await db.fetchrow(BEGIN_SENDING, task_id)
    if row is None:
        raise LookupError(f"no task {task_id}")
    return row["doubtful_at"], row["now"]
