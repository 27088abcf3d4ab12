"""Resend's daily and monthly quota: when it is used up, no worker sends an email until it is looked at again.

The hold is a row of `call_rates`, in business time, so that all workers see it before they read anything from Stripe.
Resend says neither in an answer nor in its documents at which hour a quota is there again ("wait until 24 hours have
passed", https://resend.com/docs/api-reference/errors, read November 2026), and the operator may buy a larger one at any
time. So it is looked at again after an hour, and right after midnight UTC.
"""

from datetime import timedelta

from services.worker.errors import RetryLater
from services.worker.outside import store
from shared.database import Connection, Database, DatabaseAway


class MailQuota:
    """The quota of the platform's team at Resend."""

    LOOK_AGAIN = timedelta(hours=1)

    def __init__(self, database: Database) -> None:
        self._database = database

    async def used_up(self) -> timedelta:
        """Hold all emails, because Resend refused one for its quota; for how long."""
        try:
            async with self._database.statement() as db:
                return await store.hold_emails(db, self.LOOK_AGAIN)
        except DatabaseAway:
            return self.LOOK_AGAIN


async def check_quota(db: Connection) -> None:
    """Raise RetryLater (no try is used up) while emails are held."""
    left = await store.emails_held_for(db)
    if left is not None:
        raise RetryLater("resend: the quota of emails is used up", delay=left, counts=False)
