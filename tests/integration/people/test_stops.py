"""An operator stops recoveries: through the API and at the console."""

from typing import Any

import pytest

from shared.api_keys import Scope, hash_secret, new_secret
from tests.integration.ledger.api import Api
from tests.integration.people.town import Town, citadel


async def _key(town: Town, merchant_id: str | None, *scopes: Scope) -> Api:
    secret = new_secret()
    insert = "INSERT INTO api_keys (name, merchant_id, key_hash, scopes) VALUES ('test', $1, $2, $3)"
    await town.world.execute(insert, merchant_id, hash_secret(secret), list(scopes or Scope))
    return town.api.as_(secret)


async def test_a_stopped_recovery_is_charged_and_written_to_no_more(town: Town) -> None:
    failed = await town.renewal(decline="do_not_honor", clears_after=1)
    await town.world.work()
    written = len(await town.subjects())
    stopped = await town.stop(failed.recovery_id, reason="arranged_otherwise")
    assert (stopped.body["state"], stopped.body["end_reason"]) == ("stopped", "stopped_by_operator")
    (closed,) = await failed.story("closed")
    assert closed["detail"]["code"] == "arranged_otherwise"
    assert closed["detail"]["reason"]["inputs"] == {"source": "operator", "code": "arranged_otherwise"}
    await town.months_pass()
    assert await failed.charges() == []
    assert len(await town.subjects()) == written


async def test_a_stop_is_idempotent_with_and_without_a_key(town: Town) -> None:
    failed = await town.renewal(decline="do_not_honor")
    await town.world.work()
    path, body = f"/v1/recoveries/{failed.recovery_id}/stop", {"reason": "other"}
    first = await town.api.post(path, body, Idempotency_Key="k")
    replayed = await town.api.post(path, body, Idempotency_Key="k")
    again = await town.api.post(path, {})
    assert first.body == replayed.body == again.body
    assert replayed.headers["Idempotent-Replayed"] == "true"
    assert len(await failed.story("closed")) == 1
    assert (await failed.booked())["recovery_stopped"] == 1
    reused = await town.api.post(path, {"reason": "hardship"}, Idempotency_Key="k")
    assert (reused.status, reused.problem) == (422, "idempotency-key-reused")


async def test_what_has_ended_otherwise_is_not_stopped(town: Town) -> None:
    failed = await town.renewal(decline="do_not_honor", clears_after=1)
    await failed.finish()
    refused = await town.stop(failed.recovery_id)
    assert (refused.status, refused.problem) == (409, "already-ended")
    assert (await failed.recovery())["state"] == "recovered"


@pytest.mark.parametrize("reason", ["called me on Monday", "", None, 7])
async def test_a_reason_is_a_code_and_never_a_text(town: Town, reason: Any) -> None:
    failed = await town.renewal(decline="do_not_honor")
    refused = await town.stop(failed.recovery_id, reason=reason)
    assert (refused.status, refused.fields) == (422, ["reason"])
    noted = await town.stop(failed.recovery_id, note="called me on Monday")
    assert (noted.status, noted.fields) == (422, ["note"])


async def test_nobody_stops_another_tenants_recovery_or_without_the_scope(town: Town) -> None:
    failed = await town.renewal(decline="do_not_honor")
    stranger = await _key(town, await town.world.connect())
    path = f"/v1/recoveries/{failed.recovery_id}/stop"
    assert (await stranger.post(path, {})).status == 404
    assert (await stranger.post("/v1/recovery-stops", {"customer_id": failed.customer})).body["changed"] == 0
    reader = await _key(town, town.world.merchant_id, Scope.RECOVERIES_READ, Scope.TASKS_WRITE)
    assert (await reader.post(path, {})).status == 403
    assert (await failed.recovery())["state"] == "open"
    own = await _key(town, town.world.merchant_id, Scope.RECOVERIES_WRITE)
    assert (await own.post(path, {})).body["state"] == "stopped"


@pytest.mark.parametrize("by", ["customer_id", "subscription_id", None])
async def test_all_open_recoveries_of_somebody_are_stopped_at_once(town: Town, by: str | None) -> None:
    one = await town.renewal(decline="do_not_honor")
    other = await town.renewal(decline="do_not_honor")
    await town.world.work()
    named = {} if by is None else {by: (await one.recovery())[by]}
    asked = {"merchant_id": town.world.merchant_id, "reason": "hardship", **named}
    reply = await town.api.post("/v1/recovery-stops", asked)
    assert reply.body == {"changed": 2 if by is None else 1, "more": False}
    assert (await one.recovery())["state"] == "stopped"
    assert (await other.recovery())["state"] == ("stopped" if by is None else "waiting")


async def test_the_console_stops_one_by_its_invoice(
    town: Town, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITADEL_DATABASE_URL", database_url)
    failed = await town.renewal(decline="do_not_honor")
    await town.world.work()
    words = ("recovery", "stop", failed.invoice, "--merchant", town.world.account, "--reason", "hardship")
    assert await citadel(*words) == (0, f"{failed.invoice} is stopped\n")
    assert await citadel(*words) == (0, f"it was so already: {failed.invoice} is stopped\n")
    assert (await citadel("recovery", "stop", "in_unknown"))[0] == 1
    assert (await failed.recovery())["end_reason"] == "stopped_by_operator"
