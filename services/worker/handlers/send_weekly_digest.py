"""`send_weekly_digest`: emails a merchant the numbers of its week, and queues the next digest.

No digest is sent for a week in which nothing happened. The merchant's address is read from Stripe when the email is
sent, and dropped.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from services.worker.backoff import RetryPolicy
from services.worker.handler import Handler, Job, Payload, handles
from services.worker.merchants import WeekInCurrency, find_merchant, week_of
from services.worker.messages.brand import brand_of
from services.worker.messages.language import Language, choose
from services.worker.messages.letters import DIGEST, Week, write_digest
from services.worker.outside.email import Email, is_address
from services.worker.outside.mail_quota import check_quota
from services.worker.outside.remote import Remote
from services.worker.outside.stripe_calls import own_account
from shared.clock import business_now
from shared.database import Connection
from shared.ids import AccountId
from shared.merchant_tasks import digest_at
from shared.money import Money

WEEK = timedelta(days=7)
DAY = timedelta(days=1)


class DigestPayload(Payload):
    """Empty: the task names the merchant."""


@dataclass(frozen=True, slots=True)
class MerchantGone:
    """No digest now, and none follows."""


@dataclass(frozen=True, slots=True)
class WeekToTell:
    """The week from `first` to the day before `end`."""

    account: AccountId
    first: date
    end: date
    sums: tuple[WeekInCurrency, ...]
    task_id: str


@dataclass(frozen=True, slots=True)
class Done:
    """The week is done; the next digest follows."""

    written: bool


Plan = MerchantGone | WeekToTell
Outcome = MerchantGone | Done


@handles("send_weekly_digest")
class SendWeeklyDigest(Handler[DigestPayload, Plan, Outcome]):
    """One merchant's week."""

    payload = DigestPayload
    calls = ("stripe", "resend")
    retry = RetryPolicy(base=timedelta(minutes=1), factor=3.0, longest=timedelta(hours=6))

    async def load(self, db: Connection, task: Job[DigestPayload]) -> Plan:
        """The week's sums, by currency."""
        await check_quota(db)
        merchant = await find_merchant(db, task.merchant_id)
        if merchant is None or not merchant.active:
            return MerchantGone()
        first, end, sums = await week_of(db, task.merchant_id, await business_now(db))
        return WeekToTell(merchant.account, first, end, tuple(sums), str(task.public_id))

    async def perform(self, remote: Remote, plan: Plan) -> Outcome:
        """Send the email, if anything happened in the week."""
        if isinstance(plan, MerchantGone):
            return plan
        if not plan.sums:
            return Done(written=False)
        account = await own_account(remote.stripe.for_merchant(plan.account))
        if not is_address(account.get("email") or ""):
            return Done(written=False)
        brand = brand_of(account)
        language = choose((), brand.country)
        first, last = (language.whole_day(day) for day in (plan.first, plan.end - DAY))
        letter = write_digest(language, brand, first, last, [_week(language, week) for week in plan.sums])
        key = f"email:{plan.task_id}"
        email = Email(DIGEST, account["email"], letter.subject, letter.text, letter.html, key, entity_ref=plan.task_id)
        with remote.lease.guarding():
            await remote.email.send(email)
        return Done(written=True)

    async def commit(self, db: Connection, task: Job[DigestPayload], outcome: Outcome) -> None:
        """Queue the next one for the same hour of the week."""
        if isinstance(outcome, MerchantGone):
            return
        run_at = following(task.run_at, await business_now(db))
        await digest_at(db, task.merchant_id, run_at)


def following(was_due: datetime, now: datetime) -> datetime:
    """The next time after `now` in steps of a week from `was_due`; missed weeks get no digest."""
    weeks = max(1, (now - was_due) // WEEK + 1)
    return was_due + weeks * WEEK


def _week(language: Language, week: WeekInCurrency) -> Week:
    def amount(cents: int) -> str | None:
        return language.amount(Money(cents, week.currency)) if cents != 0 else None

    return Week(
        currency=week.currency.upper(),
        recovered=language.amount(Money(week.recovered_cents, week.currency)),
        recovered_count=week.recovered_count,
        failed=language.amount(Money(week.failed_cents, week.currency)),
        failed_count=week.failed_count,
        attempts=week.attempt_count,
        messages=week.message_count,
        refunded=amount(week.refunded_cents),
        disputed=amount(week.disputed_cents),
        won_back=amount(week.won_back_cents),
    )
