"""`python -m benchmarks.traffic '{"port": …}'`: signed webhooks over so many connections for so many seconds.

Each connection sends its next event when the last one was answered. Only the given port on 127.0.0.1 is called, and the
process ends by itself. Events have 2.3 kB; `failures` of 100 are failed renewals, each of a new invoice; the others are
of the types that Stripe sends for successful renewals.
"""

import asyncio
import hashlib
import hmac
import sys
import time
from dataclasses import dataclass, field
from typing import cast

import orjson
import uvloop

from benchmarks.wire import SECRET, tell

EVENT_BYTES = 2300
OTHERS = ("invoice.payment_succeeded", "charge.succeeded", "customer.subscription.updated", "payment_intent.succeeded")


def event(number: int, account: int, failed: bool) -> bytes:
    """An event of `EVENT_BYTES` bytes."""
    kind = "invoice.payment_failed" if failed else OTHERS[number % len(OTHERS)]
    made = {
        "id": f"evt_bench_{number}",
        "object": "event",
        "api_version": "2026-05-27.dahlia",
        "account": f"acct_bench_{account}",
        "created": 1_790_000_000,
        "livemode": False,
        "type": kind,
        "data": {
            "object": {
                "id": f"in_bench_{number}",
                "object": "invoice",
                "amount_due": 2000,
                "amount_paid": 0 if failed else 2000,
                "amount_remaining": 2000 if failed else 0,
                "attempt_count": 1,
                "billing_reason": "subscription_cycle",
                "collection_method": "charge_automatically",
                "currency": "usd",
                "customer": f"cus_bench_{number}",
                "metadata": {},
                "parent": {"subscription_details": {"subscription": f"sub_bench_{number}"}},
                "status": "open" if failed else "paid",
            }
        },
    }
    body = orjson.dumps(made)
    return body[:-1] + b',"padding":"' + b"x" * (EVENT_BYTES - len(body) - 13) + b'"}'


@dataclass(slots=True)
class Load:
    """What to send, and the results. `failures` is a percentage."""

    port: int
    seconds: float
    failures: int = 25
    connections: int = 64
    accounts: int = 200
    first: int = 0
    sent: int = 0
    ends: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)
    took: list[float] = field(default_factory=list)

    def next_request(self) -> bytes:
        """A request with a new event."""
        number = self.first + self.sent
        self.sent += 1
        body = event(number, number % self.accounts, number % 100 < self.failures)
        stamp = str(int(time.time()))
        digest = hmac.digest(SECRET.encode(), stamp.encode() + b"." + body, hashlib.sha256).hex()
        head = (
            f"POST /webhooks/stripe HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Stripe-Signature: t={stamp},v1={digest}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


class Caller(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._answer = b""
        self._since = 0.0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self._send()

    def _send(self) -> None:
        assert self._transport is not None
        if time.monotonic() >= self._load.ends:
            self._transport.close()
            return
        request = self._load.next_request()
        self._since = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """An answer, or a part of one."""
        self._answer += data
        head, found, body = self._answer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(body) < length:
            return
        self._load.took.append(time.perf_counter() - self._since)
        status = head[9:12].decode()
        self._load.statuses[status] = self._load.statuses.get(status, 0) + 1
        self._answer = b""
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        if not self.ended.done():
            self.ended.set_result(None)


async def main(load: Load) -> None:
    """Send until the time is over and every request was answered."""
    loop = asyncio.get_running_loop()
    load.ends = time.monotonic() + load.seconds
    started = time.monotonic()
    callers = [
        (await loop.create_connection(lambda: Caller(load), "127.0.0.1", load.port))[1] for _ in range(load.connections)
    ]
    await asyncio.wait_for(asyncio.gather(*(caller.ended for caller in callers)), load.seconds + 30)
    seconds = time.monotonic() - started
    took = sorted(load.took)
    tell(
        sent=load.sent,
        seconds=seconds,
        rate=load.statuses.get("200", 0) / seconds,
        statuses=load.statuses,
        p50_ms=took[len(took) // 2] * 1000,
        p99_ms=took[int(len(took) * 0.99)] * 1000,
    )


if __name__ == "__main__":
    uvloop.run(main(Load(**orjson.loads(sys.argv[1]))))
