"""What Stripe says of usage afterwards: thin events about meter events that it accepted and could not use.

The codes and fields are those of the SDK's `V1BillingMeterErrorReportTriggeredEvent` (stripe 16.1.0); what is sent is
thin: without `data`, which `GET /v2/core/events/:id` adds (docs.stripe.com/event-destinations, read 2026-11). That
`request.identifier` of a sample is the meter event's identifier is assumed.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from simulator.errors import ApiError, bad_request
from simulator.events import EventLog
from simulator.shapes import DAY, Json
from simulator.world import Account, World

ERRORS: dict[str, str] = {
    "archived_meter": "The meter is archived.",
    "meter_event_customer_not_found": "The customer of the meter event was not found.",
    "meter_event_dimension_count_too_high": "The meter event has too many dimensions.",
    "meter_event_invalid_value": "The value of the meter event is no whole number.",
    "meter_event_no_customer_defined": "The meter event names no customer.",
    "meter_event_value_too_many_digits": "The value of the meter event has too many digits.",
    "missing_dimension_payload_keys": "The meter event lacks a dimension of its meter.",
    "no_meter": "No meter has the name of the meter event.",
    "timestamp_in_future": "The meter event's time is ahead.",
    "timestamp_too_far_in_past": "The meter event's time is too far in the past.",
}


@dataclass(slots=True)
class MeterEvent:
    """One accepted meter event; `error` is the code for which Stripe could not use it, told afterwards."""

    account: str
    event_name: str
    identifier: str
    timestamp: int
    payload: Json
    at: int
    error: str | None = None


class Meters:
    """The usage of all accounts. `duplicate` is how a repeated identifier is answered.

    By default a 400 without a code, as https://github.com/langfuse/langfuse/pull/16292 (2026-08-19) tells it. With a
    status of 200 it is taken and not counted.
    """

    def __init__(self, world: World, events: EventLog) -> None:
        self._world = world
        self._events = events
        self._reports: dict[str, tuple[str, Json]] = {}
        self.accepted: list[MeterEvent] = []
        self._seen: dict[tuple[str, str], int] = {}
        self.duplicate: Json = {"status": 400, "param": "identifier"}

    def accept(self, event: MeterEvent) -> None:
        """Keeps a meter event. An identifier is remembered for 24 hours, and no longer than that."""
        seen = self._seen.get((event.account, event.identifier))
        if seen is not None and event.at - seen < DAY:
            sign = dict(self.duplicate)
            status = sign.pop("status", 400)
            if status == 200:
                return
            message = sign.pop("message", f"An event already exists with identifier {event.identifier}.")
            raise ApiError(status, message, headers={"Stripe-Should-Retry": "false"}, **sign)
        self._seen[event.account, event.identifier] = event.at
        self.accepted.append(event)

    def report(self, account: Account, code: str, identifiers: list[str], meter: str | None) -> Json:
        """Tells that the meter events with these identifiers were of no use; the event in full."""
        if code not in ERRORS:
            raise bad_request(f"Unknown meter error {code!r}; known: {sorted(ERRORS)}.")
        for event in self.accepted:
            if event.account == account.id and event.identifier in identifiers:
                event.error = code
        count = len(identifiers)
        samples = [{"error_message": ERRORS[code], "request": {"identifier": each}} for each in identifiers[:10]]
        reason = {
            "error_count": count,
            "error_types": [{"code": code, "error_count": count, "sample_errors": samples}],
        }
        now = self._world.clock.now
        missing = code == "no_meter"
        kind = "v1.billing.meter.no_meter_found" if missing else "v1.billing.meter.error_report_triggered"
        thin: Json = {
            "id": f"evt_test_{self._world.ids.token('thin', account.id, 40)}",
            "object": "v2.core.event",
            "context": account.id,
            "created": _iso(now),
            "livemode": False,
            "reason": None,
            "type": kind,
        }
        if not missing:
            meter = meter or self._world.ids.new("mtr", account.id)
            thin["related_object"] = {"id": meter, "type": "billing.meter", "url": f"/v1/billing/meters/{meter}"}
        data = {
            "developer_message_summary": f"There {'is' if count == 1 else 'are'} {count} invalid event"
            f"{'' if count == 1 else 's'}",
            "reason": reason,
            "validation_end": _iso(now),
            "validation_start": _iso(now - 10),
        }
        full = {**thin, "data": data}
        self._reports[thin["id"]] = (account.id, full)
        self._events.publish(account, thin["id"], kind, thin, listed=False)
        return full

    def full(self, account: Account, ident: str) -> Json:
        """A thin event with its data, for `GET /v2/core/events/:id`."""
        owner, found = self._reports.get(ident, ("", {}))
        if owner != account.id:
            raise ApiError(404, f"Event {ident} could not be found", code="not_found")
        return found


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
