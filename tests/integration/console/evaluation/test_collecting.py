"""A merchant's past, read over HTTP from the simulator: whole, paced, through faults, and on after a kill."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import stripe

from console.evaluation.history import Failure, Header, read_history
from console.evaluation.history.collect import CannotRead, Pace, collect, history_of
from console.evaluation.history.journal import Journal, Window
from shared.ids import AccountId
from simulator import SECRET_KEY, SimulatorClient
from tests.simulated import simulated
from tests.waiting import until

START = 1_750_000_000  # June 2025: a past for the command, which reads none of the future
DAY = 86_400
SINCE, UNTIL = START - DAY, START + 60 * DAY
# Faults are waited out, not waited for.
QUICK = Pace(per_second=1_000, backoff=0.01)
SUBSCRIPTIONS = 120


@dataclass(slots=True)
class Past:
    """A merchant that has lived through some weeks, and the way to read it."""

    control: SimulatorClient
    url: str
    account: AccountId

    async def read(self, path: Path, pace: Pace = QUICK) -> tuple[Header, list[Failure]]:
        journal = Journal.open(path, Window(self.account, SINCE, UNTIL), days_given=False)
        transport = stripe.AIOHTTPClient(timeout=5)
        client = stripe.StripeClient(
            SECRET_KEY,
            http_client=transport,
            base_addresses={"api": self.url, "connect": self.url},
            stripe_account=self.account,
            max_network_retries=0,
        )
        try:
            await collect(client, journal, pace, lambda name, share, rows: None)
        finally:
            journal.close()
            await transport.close_async()  # type: ignore[no-untyped-call]  # the SDK leaves it untyped
        return history_of(journal)

    async def requests(self) -> list[dict[str, Any]]:
        return [each for each in await self.control.requests() if each["method"] == "GET"]


@pytest.fixture
async def past() -> AsyncIterator[Past]:
    async with simulated(seed=5, start=START, validate_responses=True) as served:
        control = served.control
        (account,) = await control.populate(
            accounts=1, subscriptions=SUBSCRIPTIONS, failing=0.4, connected=True, stripe_retries=(2, 5, 7)
        )
        await control.advance(25 * DAY)
        yield Past(control, served.url, AccountId(account))


async def test_every_failure_and_every_attempt_is_read_in_few_calls(past: Past, tmp_path: Path) -> None:
    header, failures = await past.read(tmp_path / "pages")
    really: dict[str, list[dict[str, Any]]] = {}
    for each in await past.control.attempts():
        really.setdefault(each["invoice"], []).append(each)
    failed = {invoice: tries for invoice, tries in really.items() if tries[0]["outcome"] != "succeeded"}
    assert len(failed) > 40
    assert {each.invoice for each in failures} == failed.keys()
    for failure in failures:
        tries = failed[failure.invoice]
        charged = [each for each in tries if each["outcome"] != "requires_action"] or tries[:1]
        assert [each.at for each in failure.attempts] == [each["at"] for each in charged]
        assert [each.result for each in failure.attempts] == [each["outcome"] for each in charged]
        assert [each.decline_code for each in failure.attempts] == [
            each["decline_code"] if each["outcome"] == "declined" else None for each in charged
        ]
        assert (failure.amount, failure.currency) == (tries[0]["amount"], tries[0]["currency"])
    assert header.left_out == {}
    charges = len([each for each in await past.control.attempts() if each["charge"]])
    assert len(await past.requests()) <= charges / 100 + SUBSCRIPTIONS / 100 + 4


async def test_no_customer_is_in_what_is_kept(past: Past, tmp_path: Path) -> None:
    _, failures = await past.read(tmp_path / "pages")
    text = (tmp_path / "pages").read_text() + "".join(each.model_dump_json() for each in failures)
    for personal in await past.control.pii():
        assert personal not in text
    for card in {each["fingerprint"] for each in await past.control.attempts()}:
        assert card not in text


@pytest.mark.parametrize(
    "faults",
    [
        [{"kind": "rate_limited", "times": 3}],
        [{"kind": "server_error", "times": 2}],
        [{"kind": "drop", "times": 1, "skip": 1}],
        [{"kind": "truncate", "times": 1, "skip": 3}],
        [{"kind": "lock_timeout", "times": 2, "skip": 2}],
        [{"kind": each, "probability": 0.08} for each in ("rate_limited", "server_error", "drop", "truncate")],
    ],
    ids=lambda faults: "+".join(each["kind"] for each in faults),
)
async def test_faults_on_the_way_change_nothing(past: Past, tmp_path: Path, faults: list[dict[str, Any]]) -> None:
    undisturbed = await past.read(tmp_path / "undisturbed")
    for fault in faults:
        await past.control.add_fault(**{"method": "GET", "path": "/v1/*"} | fault)
    assert await past.read(tmp_path / "disturbed") == undisturbed
    assert sum(each["hits"] for each in await past.control.faults()) > 0


async def test_a_run_goes_on_where_a_cut_connection_left_it(past: Past, tmp_path: Path) -> None:
    undisturbed = await past.read(tmp_path / "undisturbed")
    before = len(await past.requests())
    await past.control.add_fault("server_error", method="GET", path="/v1/*", skip=2)
    with pytest.raises(CannotRead, match="did not answer"):
        await past.read(tmp_path / "pages", Pace(1_000, backoff=0.0))
    await past.control.clear_faults()
    asked = len(await past.requests())
    assert await past.read(tmp_path / "pages") == undisturbed
    # The two pages that were whole are not asked for again.
    assert len(await past.requests()) - asked == before - 2


async def test_an_account_that_is_not_connected_is_refused_at_once(past: Past, tmp_path: Path) -> None:
    await past.control.deauthorize(past.account)
    with pytest.raises(CannotRead, match="not connected"):
        await past.read(tmp_path / "pages")
    assert len(await past.requests()) == 1


async def test_calls_are_spaced(past: Past, tmp_path: Path) -> None:
    waits: list[float] = []

    class Watched(Pace):
        async def turn(self) -> None:
            waits.append(asyncio.get_running_loop().time())
            await super().turn()

    pace = Watched(per_second=50)
    began = asyncio.get_running_loop().time()
    await past.read(tmp_path / "pages", pace)
    assert asyncio.get_running_loop().time() - began >= (len(waits) - 1) / 50


async def test_a_customer_who_authenticates_later_is_a_failure_that_they_paid(past: Past, tmp_path: Path) -> None:
    made = await past.control.add_renewal(past.account, card={"needs_3ds": True})
    await past.control.advance(DAY)
    await past.control.authenticate(made["invoice"]["id"])
    waiting = await past.control.add_renewal(past.account, card={"needs_3ds": True})
    _, failures = await past.read(tmp_path / "pages")
    by_invoice = {each.invoice: each for each in failures}
    paid = by_invoice[made["invoice"]["id"]].attempts
    assert [(each.result, each.by) for each in paid] == [("requires_action", "retry"), ("succeeded", "customer")]
    assert [each.result for each in by_invoice[waiting["invoice"]["id"]].attempts] == ["requires_action"]


async def test_how_a_failure_ended_is_read(past: Past, tmp_path: Path) -> None:
    cards = [{"decline": "do_not_honor"}] * 5
    made = [await past.control.add_renewal(past.account, card=card) for card in cards]
    ids = [each["invoice"]["id"] for each in made]
    await past.control.advance(DAY)
    transport = stripe.AIOHTTPClient(timeout=5)
    client = stripe.StripeClient(
        SECRET_KEY, http_client=transport, base_addresses={"api": past.url}, stripe_account=past.account
    )
    await client.v1.invoices.void_invoice_async(ids[0])
    await client.v1.invoices.mark_uncollectible_async(ids[1])
    await client.v1.invoices.pay_async(ids[2], {"paid_out_of_band": True})
    await past.control.pay_hosted(ids[3])
    await transport.close_async()  # type: ignore[no-untyped-call]  # the SDK leaves it untyped
    now = await past.control.now()
    _, failures = await past.read(tmp_path / "pages")
    found = {each.invoice: each for each in failures}
    assert [found[each].ending for each in ids] == ["void", "uncollectible", "paid_elsewhere", "open", "open"]
    assert [found[each].ended_at for each in ids] == [now, now, now, None, None]
    last = found[ids[3]].attempts[-1]
    assert (last.result, last.by, last.at) == ("succeeded", "customer", now)


async def test_the_same_card_charged_for_something_else_is_kept_beside_the_failure(past: Past, tmp_path: Path) -> None:
    good = await past.control.add_renewal(past.account, card={"fingerprint": "shared"})
    await past.control.advance(DAY)
    bad = await past.control.add_renewal(past.account, card={"fingerprint": "shared", "decline": "do_not_honor"})
    _, failures = await past.read(tmp_path / "pages")
    failure = next(each for each in failures if each.invoice == bad["invoice"]["id"])
    assert [(each.result, each.amount) for each in failure.elsewhere] == [("succeeded", good["invoice"]["amount_due"])]


async def test_nothing_asked_of_stripe_is_unknown_to_its_document(past: Past, tmp_path: Path) -> None:
    await past.read(tmp_path / "pages")
    requests = await past.requests()
    assert Counter(each["status"] for each in requests) == {200: len(requests)}
    assert {each["path"] for each in requests} == {"/v1/charges", "/v1/invoices", "/v1/invoice_payments"}


# -- the command ---------------------------------------------------------------------------------


def environment(past: Past) -> dict[str, str]:
    settings = {"CITADEL_STRIPE_SECRET_KEY": SECRET_KEY, "CITADEL_STRIPE_API_BASE": past.url}
    return {**os.environ, **settings}


async def citadel(past: Past, folder: Path, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "console.__main__", "backtest", "--merchant", past.account, "--until", "2025-08-15"),
        *("--keep", str(folder / "past.jsonl"), "--json", *words),
        cwd=Path(__file__).parents[4],
        env=environment(past),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_killed_command_goes_on_and_keeps_the_same_bytes(past: Past, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = await citadel(past, whole)
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, err.decode()
    # The third page hangs: the process dies with two on the disk.
    await past.control.add_fault("slow", method="GET", path="/v1/*", skip=2, latency_ms=120_000)
    process = await citadel(past, killed)
    pages = killed / "past.jsonl.partial"
    await until(
        lambda: pages.exists() and pages.read_bytes(),
        "two pages are written",
        lambda text: text and text.count(b"\n") == 3,
    )
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await past.control.clear_faults()
    with pages.open("ab") as torn:
        torn.write(b'{"list":"charges","rows":[{"id":')  # as if the kill had come in the middle of a write
    process = await citadel(past, killed)
    again, err = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, err.decode()
    assert b"going on" in err
    assert (killed / "past.jsonl").read_bytes() == (whole / "past.jsonl").read_bytes()
    assert not pages.exists()
    assert (killed / "past.jsonl").stat().st_mode & 0o077 == 0
    header, failures = read_history(killed / "past.jsonl")
    assert (header.merchant, len(failures) > 40) == (past.account, True)
    assert out.split(b'"outcomes"')[1] == again.split(b'"outcomes"')[1]
