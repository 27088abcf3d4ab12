"""Broken builds: each lacks the rule against one kind of fault, by an exact change of text, and must be found out.

The edits are as in `tests/chaos/mutants.py`. A mutant is played in the mood that has more of what needs the rule, until
a check that is named here finds something, or the time is used up.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tests.chaos.mutants import ROOT, Edit, copy_with

SECONDS = 240
_PATIENCE_S = SECONDS + 400.0


@dataclass(frozen=True, slots=True)
class Mutant:
    """A missing rule. `kind`: of the list of faults in docs/reliability.md; `findings`: by which it is caught."""

    name: str
    kind: int
    missing: str
    mood: str
    findings: tuple[str, ...]
    edits: tuple[Edit, ...]
    seed: int = 1


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "debits_are_not_waited_for",
        1,
        "a payment under way holds nothing up",
        "debits",
        (
            "told: asks for what is being paid",
            "ends: ended while money is on its way",
            "ends: an end action while money is on its way",
            "attempts: our row says otherwise than the bank",
        ),
        (
            Edit(
                "services/worker/recovery/decide.py",
                "    _payment_under_way,\n    _stopped_from_outside,\n",
                "    _stopped_from_outside,\n",
            ),
        ),
    ),
    Mutant(
        "only_the_pinned_method",
        2,
        "a new default of the customer is not seen where the subscription pins another",
        "methods",
        ("cards: the customer's default is good and was never tried",),
        (
            Edit(
                "services/worker/recovery/consent.py",
                "    return tuple(found)\n",
                "    return ()\n",
            ),
        ),
    ),
    Mutant(
        "a_new_number_is_the_same_card",
        2,
        "a card that was replaced under its own id counts as the one that was declined",
        "methods",
        ("cards: what Stripe charges is good and was never tried",),
        (
            Edit(
                "services/worker/recovery/case.py",
                "    if known and attempt.card_fingerprint != fingerprint:\n        return False\n",
                "    if known and attempt.card_fingerprint != fingerprint:\n"
                "        return attempt.payment_method_id == invoice.payment_method_id\n",
            ),
        ),
    ),
    Mutant(
        "what_was_due_is_booked",
        3,
        "a recovery books what was due at its opening, not what its charges moved",
        "amounts",
        (
            "booked: more is booked than came in",
            "booked: what is booked did not move",
            "booked: money of ours is not booked",
        ),
        (
            Edit(
                "services/worker/dunning_retry/conclude.py",
                "        recovered, charges = moved.total, moved.charges\n",
                "        recovered, charges = dossier.due, ()\n",
            ),
            Edit(
                "services/worker/dunning_retry/money.py",
                "        await _correct(db, dossier, reading, seen)\n",
                "        return\n",
            ),
        ),
    ),
    Mutant(
        "money_that_goes_back_is_not_booked",
        3,
        "refunds and disputes have no effect",
        "money_back",
        (
            "returned: refunded is not booked as it moved",
            "returned: disputed is not booked as it moved",
        ),
        (
            Edit(
                "shared/events/effects.py",
                "            await _take_back(db, merchant_id, event, intent)\n",
                "            pass\n",
            ),
        ),
    ),
    Mutant(
        "money_that_is_won_back_is_not_booked",
        3,
        "a dispute that is won changes nothing in the book",
        "money_back",
        ("returned: won_back is not booked as it moved",),
        (
            Edit(
                "shared/money_back.py",
                "                won_back -= change\n",
                "                won_back -= 0\n",
            ),
        ),
    ),
    Mutant(
        "declines_without_a_charge_are_unread",
        4,
        "why a payment failed is read from its charge only",
        "errors",
        ("charged: the card was declined for good",),
        (
            Edit(
                "services/worker/dunning_retry/collect.py",
                "    if declined is not None and not _has_charge(declined, found) and _is_news(dossier, declined):\n",
                "    if declined is not None and _has_charge(declined, found) and _is_news(dossier, declined):\n",
            ),
        ),
    ),
    Mutant(
        "the_dead_are_not_replaced",
        4,
        "a recovery whose task has died gets no other one",
        "errors",
        ("alive: a recovery goes on and no task looks after it",),
        (
            Edit(
                "services/worker/engine/store.py",
                "WHERE died_at IS NULL OR died_at < citadel_now() - $2::interval\n",
                "WHERE died_at IS NULL OR died_at < citadel_now() - $2::interval * 1000\n",
            ),
        ),
    ),
    Mutant(
        "the_dead_are_not_shown",
        4,
        "the API does not say that a recovery's task has died",
        "errors",
        ("alive: a recovery whose task is dead is not shown",),
        (
            Edit(
                "services/ledger/recoveries/store.py",
                '_IS_DEAD = """t.status = \'dead\' AND NOT EXISTS (',
                '_IS_DEAD = """t.status = \'dead\' AND t.parked AND NOT EXISTS (',
            ),
        ),
    ),
    Mutant(
        "newer_invoices_do_not_count",
        5,
        "an end action does not ask whether a newer invoice of the subscription is paid",
        "ends",
        ("ends: an end action though a later invoice is paid",),
        (
            Edit(
                "services/worker/dossier/ending.py",
                "    if InvoiceStatus.PAID in newer:\n",
                "    if InvoiceStatus.PAID in newer and not newer:\n",
            ),
        ),
    ),
    Mutant(
        "a_closed_door_is_a_farewell",
        5,
        "an account that cannot be reached, by whatever error, counts as one that has left",
        "ends",
        ("ends: merchant_gone, and the merchant is there",),
        (
            Edit(
                "services/worker/dunning_retry/collect.py",
                "        if dossier.merchant_active:\n            raise  #",
                "        if not dossier.merchant_active:\n            raise  #",
            ),
        ),
    ),
    Mutant(
        "whatever_is_missing_is_the_invoice",
        5,
        "a 404 about anything ends the recovery",
        "errors",
        ("ends: invoice_missing, and it is there",),
        (
            Edit(
                "services/worker/dunning_retry/collect.py",
                "    except InvoiceMissing:\n",
                "    except Refused:\n",
            ),
        ),
    ),
    Mutant(
        "a_return_opens_nothing",
        5,
        "what was stopped when the merchant left stays stopped when it comes back",
        "ends",
        ("opened: a merchant is back, and what its leaving stopped is not opened",),
        (
            Edit(
                "shared/recovery_stops.py",
                "    AND (r.end_reason = 'merchant_gone' OR (r.closed_at IS NULL",
                "    AND ((r.closed_at IS NULL",
            ),
        ),
    ),
    Mutant(
        "waking_up_ends_things",
        5,
        "a worker that was away for most of a window takes it as over when it is back",
        "ends",
        ("ends: an end action by a worker that wakes up",),
        (
            Edit(
                "services/worker/dossier/window.py",
                "    if not over or dossier.in_holdout or lengthened(dossier) >= MOST:\n",
                "    if not over or MOST >= 0:\n",
            ),
            Edit(
                "services/worker/handlers/end_dunning.py",
                "    if window.lengthened(dossier) >= window.MOST or window.message_is_missing(dossier, closed):\n",
                "    if window.lengthened(dossier) >= window.MOST:\n",
            ),
        ),
    ),
    Mutant(
        "canceled_work_comes_back",
        6,
        "an operator who cancels a retry stops the task and not the recovery",
        "people",
        (
            "charged: an operator had stopped it",
            "told: about a recovery that an operator had stopped",
            "alive: a recovery goes on and an operator had stopped it",
        ),
        (
            Edit(
                "services/ledger/tasks/endpoints.py",
                "        await interventions.follow_cancel(call.db, [task])\n",
                "        pass\n",
            ),
        ),
    ),
    Mutant(
        "what_was_said_before_is_forgotten",
        6,
        "collection that is turned off while there is no recovery yet is not kept for its opening",
        "people",
        (
            "charged: the merchant has turned its collection off",
            "told: about an invoice whose collection the merchant has turned off",
        ),
        (
            Edit(
                "shared/events/known.py",
                "        await db.execute(TURN_OFF, merchant_id, invoice_id, event_id)\n",
                "        pass\n",
            ),
        ),
    ),
    Mutant(
        "collection_off_is_overruled",
        6,
        "a merchant who turns the collection off, or pauses it, is not obeyed",
        "people",
        (
            "charged: the merchant has turned its collection off",
            "charged: its subscription's collection is paused",
        ),
        (
            Edit(
                "services/worker/recovery/decide.py",
                "    _left_alone,\n    _collection_off,\n    _window_over,\n",
                "    _left_alone,\n    _window_over,\n",
            ),
        ),
    ),
    Mutant(
        "nobody_is_left_alone",
        6,
        "that a customer is to be left alone is kept, and not read",
        "people",
        (
            "charged: its customer is left alone",
            "told: to a customer who is left alone",
        ),
        (
            Edit(
                "services/worker/dossier/store.py",
                "        SELECT l.until FROM left_alone AS l\n"
                "        WHERE l.merchant_id = r.merchant_id AND l.customer_id = r.customer_id\n",
                "        SELECT l.until FROM left_alone AS l\n"
                "        WHERE l.merchant_id = r.merchant_id AND l.customer_id = r.invoice_id\n",
            ),
            Edit(
                "services/worker/dossier/store.py",
                "        SELECT FROM left_alone AS l\n"
                "        WHERE l.merchant_id = r.merchant_id AND l.customer_id = r.customer_id\n",
                "        SELECT FROM left_alone AS l\n"
                "        WHERE l.merchant_id = r.merchant_id AND l.customer_id = r.invoice_id\n",
            ),
        ),
    ),
    Mutant(
        "refusals_are_tried_again",
        7,
        "an amount that Stripe finds too small is tried again and again",
        "errors",
        ("charged: too small an amount is tried again",),
        (
            Edit(
                "services/worker/recovery/decide.py",
                "    _below_stripes_minimum,\n    _left_alone,\n",
                "    _left_alone,\n",
            ),
        ),
    ),
    Mutant(
        "blocked_payments_are_the_customers_matter",
        7,
        "a customer is written to about a payment that the merchant's own rules blocked",
        "errors",
        ("told: about what only the merchant can change",),
        (
            Edit(
                "services/worker/dossier/next_message.py",
                "    return kind is MessageKind.PAYMENT_FAILED and dossier.merchants_matter\n",
                "    return False\n",
            ),
        ),
    ),
    Mutant(
        "no_last_word",
        8,
        "no message says what follows when nothing is paid",
        "letters",
        ("ends: an end action that was not announced",),
        (
            Edit(
                "services/worker/messages/sending.py",
                "        then=draft.ends.then if draft.ends else None,\n",
                "        then=None,\n",
            ),
        ),
    ),
    Mutant(
        "drafts_deny_the_end",
        8,
        "the last message takes a newer draft for a paid invoice, and end actions need no announcement",
        "unpaid",
        ("ends: an end action that was not announced",),
        (
            Edit(
                "services/worker/messages/drafting.py",
                "        against = newer_against(newer)\n",
                '        against = "newer_invoice_paid" if newer else None\n',
            ),
            Edit(
                "services/worker/handlers/end_dunning.py",
                "    elif not plan.announced:\n",
                "    elif not plan.announced and plan.account is None:\n",
            ),
        ),
    ),
    Mutant(
        "news_are_not_looked_at",
        8,
        "what happens between the reading and the call is not asked for right before it",
        "moments",
        ("told: asks for what is paid", "told: asks to confirm what needs no confirmation"),
        (
            Edit(
                "services/worker/dossier/store.py",
                "    ) THEN $4::text END\n",
                "    ) THEN NULLIF($4::text, $4::text) END\n",
            ),
        ),
    ),
    Mutant(
        "addresses_wake_nobody",
        8,
        "an address that appears does not wake what waits for it",
        "letters",
        ("told: nobody was written to though an address has come",),
        (
            Edit(
                "shared/events/effects.py",
                "            await _write_to_address(db, merchant_id, event, intent)\n",
                "            pass\n",
            ),
        ),
    ),
    Mutant(
        "ends_are_not_told",
        8,
        "a customer is not told that the subscription was canceled or paused",
        "letters",
        ("told: nobody was told of an end action",),
        (
            Edit(
                "services/worker/handlers/end_dunning.py",
                '    if dossier.policy.tell_end_customer and done.action != "mark_uncollectible":\n',
                '    if dossier.policy.tell_end_customer and done.action == "mark_uncollectible":\n',
            ),
        ),
    ),
    Mutant(
        "each_invoice_has_its_own_letter",
        8,
        "a customer with several open invoices gets an email about each",
        "letters",
        ("told: two requests in a few minutes",),
        (
            Edit(
                "services/worker/handlers/notify_action_required.py",
                "    earliest = turn.free_from(dossier.now, dossier.story.sent, hurries=hurries)\n",
                "    earliest = dossier.now if hurries is not None else None\n",
            ),
            Edit(
                "services/worker/handlers/notify_action_required.py",
                "    named = turn.ours or [recovery_id for recovery_id, state, _ in others if state in TELLING]\n",
                "    named = turn.ours\n",
            ),
        ),
    ),
    Mutant(
        "debits_without_limits",
        9,
        "ACH debits are tried as often as the schedule says",
        "debits",
        ("charged: more retries of a debit than its network allows",),
        (
            Edit(
                "services/worker/recovery/networks.py",
                'Limit("ach_2_retries_in_180_days", 2, timedelta(days=180)',
                'Limit("ach_2_retries_in_180_days", 20, timedelta(days=180)',
            ),
        ),
    ),
    Mutant(
        "closed_accounts_are_tried_again",
        9,
        "bank accounts that cannot be debited any more count as empty ones",
        "debits",
        ("charged: the card was declined for good",),
        (
            Edit(
                "services/worker/recovery/declines.py",
                'DeclineRow("account_frozen", _C.NOT_ALLOWED, _HARD, _S.FAILURES)',
                'DeclineRow("account_frozen", _C.NOT_ALLOWED, _SOFT, _S.FAILURES)',
            ),
            Edit(
                "services/worker/recovery/declines.py",
                'DeclineRow("bank_account_frozen", _C.NOT_ALLOWED, _HARD, _S.ACH_BLOCKED)',
                'DeclineRow("bank_account_frozen", _C.NOT_ALLOWED, _SOFT, _S.ACH_BLOCKED)',
            ),
            Edit(
                "services/worker/recovery/declines.py",
                'DeclineRow("bank_account_unusable", _C.NOT_ALLOWED, _HARD, _S.ACH_BLOCKED)',
                'DeclineRow("bank_account_unusable", _C.NOT_ALLOWED, _SOFT, _S.ACH_BLOCKED)',
            ),
            Edit(
                "services/worker/recovery/declines.py",
                'DeclineRow("no_account", _C.INCORRECT_DETAILS, _HARD, _S.BANK_ERRORS)',
                'DeclineRow("no_account", _C.INCORRECT_DETAILS, _SOFT, _S.BANK_ERRORS)',
            ),
        ),
    ),
    Mutant(
        "two_digits_for_all",
        10,
        "amounts of every currency are written with two digits",
        "currencies",
        (
            "told: names another amount than is due",
            "told: thanks for another amount than was paid",
        ),
        (
            Edit(
                "shared/money.py",
                "        return 0\n    return 3 if currency in THREE_DECIMAL else 2\n",
                "        return 2\n    return 2\n",
            ),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a mutant. `caught`: those of its findings that there were; empty: it was not caught."""

    mutant: Mutant
    caught: tuple[str, ...]
    worlds: int
    seconds: float


def try_out(mutant: Mutant) -> Verdict:
    """Play worlds of its mood until there is one of its findings, or the time is used up.

    A finding that the unbroken build has in the same world is no proof, and the search goes on behind that world.
    """
    began, worlds, seed = time.monotonic(), 0, mutant.seed
    with tempfile.TemporaryDirectory(prefix="citadel-mutant-") as folder:
        tree, report = Path(folder) / "tree", Path(folder) / "report.json"
        tree.mkdir()
        copy_with(mutant.edits, tree)
        while True:
            left = SECONDS - (time.monotonic() - began)
            stops = [part for finding in mutant.findings for part in ("--until", finding)]
            told = _run(tree, report, mutant, "--seed", str(seed), "--seconds", f"{max(left, 1):.0f}", *stops)
            worlds += told["worlds"]
            found = {name: first for name, first in told["first"].items() if name in mutant.findings}
            caught = []
            for name, first in found.items():
                calm = _run(ROOT, report, mutant, "--seed", str(first), "--worlds", "1")
                caught += [name] if name not in calm["kinds"] else []
            if caught or not found or time.monotonic() - began > SECONDS:
                return Verdict(mutant, tuple(caught), worlds, time.monotonic() - began)
            seed = max(found.values()) + 1


def _run(tree: Path, report: Path, mutant: Mutant, *arguments: str) -> dict[str, Any]:
    """What a run in this tree found. Raises RuntimeError when it does not come to its end."""
    report.unlink(missing_ok=True)
    ended = subprocess.run(
        [
            sys.executable,
            *("-m", "tests.explorer", "--mood", mutant.mood, "--no-shrink", "--report", str(report)),
            *arguments,
        ],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    if not report.exists():
        raise RuntimeError(
            f"{mutant.name}: the run did not come to its end ({ended.returncode}):\n{ended.stdout}\n{ended.stderr}"
        )
    told: dict[str, Any] = orjson.loads(report.read_bytes())
    return told


def run_all(names: Sequence[str] | None) -> int:
    """Try the mutants of these names, or all; the exit status is 1 when one was not caught."""
    chosen = [mutant for mutant in MUTANTS if names is None or mutant.name in names]
    escaped = []
    print(f"{'mutant':<42} {'kind':>4} {'worlds':>6} {'s':>5}  caught by")
    for mutant in chosen:
        verdict = try_out(mutant)
        caught = "; ".join(verdict.caught) or "NOTHING"
        print(f"{mutant.name:<42} {mutant.kind:>4} {verdict.worlds:>6} {verdict.seconds:>5.0f}  {caught}", flush=True)
        if not verdict.caught:
            escaped.append(mutant.name)
    print(f"{len(chosen) - len(escaped)} of {len(chosen)} mutants were caught")
    return 1 if escaped else 0
