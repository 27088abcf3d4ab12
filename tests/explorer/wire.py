"""The network between the product and the simulation, without a network: both live in this process.

`Line` takes the place of aiohttp's session under Stripe's SDK and under the sender of emails. Everything above it is
the product's own, also the handling of time-outs and cut connections, which are raised here as aiohttp raises them. A
world can look at each request before it is carried out and after, and do something of its own at that moment.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import orjson
from multidict import CIMultiDict, CIMultiDictProxy

from simulator import Simulator, SimulatorClient
from simulator.api import Request, StripeApi
from simulator.controls import CONTROL, Ask
from simulator.errors import ApiError
from simulator.faults import Fault
from simulator.oauth import OAuthError
from simulator.resend_limits import ResendError
from simulator.simulation import PLATFORM
from simulator.wire import SimulatorError

Json = dict[str, Any]
Look = Callable[[str, str], Awaitable[None]]
"""A look at a request: its method and its path."""


class _Body:
    """A body as it arrives; cut off in the middle if the line was."""

    def __init__(self, body: bytes, *, cut: bool) -> None:
        self._body, self._cut = body, cut

    async def read(self) -> bytes:
        if self._cut:
            raise aiohttp.ClientPayloadError("Response payload is not completed")
        return self._body


class Reply:
    """What aiohttp's response has of what the product uses."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str], *, cut: bool = False) -> None:
        self.status = status
        self.headers = CIMultiDictProxy(CIMultiDict(headers))
        self.content = _Body(body, cut=cut)

    async def read(self) -> bytes:
        """The body."""
        return await self.content.read()


class _Sending:
    """`session.post(…)`: a context manager around the reply."""

    def __init__(self, reply: Awaitable[Reply]) -> None:
        self._reply = reply

    async def __aenter__(self) -> Reply:
        return await self._reply

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


async def _nothing(_method: str, _path: str) -> None:
    return None


class Line:
    """Where requests to Stripe and Resend go: to the simulation of the present world."""

    def __init__(self) -> None:
        self.connect(None)

    def connect(self, simulation: Simulator | None, before: Look = _nothing, after: Look = _nothing) -> Self:
        """From now on the line leads there."""
        self._simulation = simulation
        self._api = None if simulation is None else StripeApi(simulation)
        self._before, self._after = before, after
        self.broken: list[str] = []
        return self

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str], data: Any = None, **_more: Any
    ) -> Reply:
        """One request of Stripe's SDK. Raises as aiohttp does."""
        method, parts = method.upper(), urlsplit(url)
        if self._api is None or self._simulation is None:
            raise _unreachable(url)
        await self._arrive(method, parts.path)
        if parts.path.startswith("/oauth/"):
            return self._oauth(parts.path, data or "")
        known = CIMultiDict(headers)
        body = data.decode() if isinstance(data, bytes) else (data or "")
        text = body if not parts.query else f"{parts.query}&{body}".rstrip("&")
        asked = Request(
            method=method,
            path=parts.path,
            text=text,
            authorization=known.get("Authorization"),
            account=known.get("Stripe-Account"),
            key=known.get("Idempotency-Key"),
            version=known.get("Stripe-Version"),
        )
        try:
            answer = await self._api.answer(asked)
        except Exception as problem:
            # To the product this would be a broken line; it is a mistake of the simulation's.
            self.broken.append(f"{method} {parts.path}: {problem!r}")
            raise
        await self._after(method, parts.path)
        await asyncio.sleep(0)
        return _on_its_way(url, answer.status, answer.body, answer.headers, answer.fault)

    def post(self, url: str, *, data: bytes, headers: Mapping[str, str], **_more: Any) -> _Sending:
        """One request of the sender of emails."""
        return _Sending(self._email(url, data, headers))

    async def _arrive(self, method: str, path: str) -> None:
        await asyncio.sleep(0)
        await self._before(method, path)

    def _oauth(self, path: str, data: Any) -> Reply:
        simulation = self._simulation
        assert simulation is not None
        text = data.decode() if isinstance(data, bytes) else data
        params = dict(parse_qsl(text, keep_blank_values=True))
        try:
            oauth = simulation.oauth
            body = oauth.token(params) if path.endswith("token") else oauth.deauthorize(params)
        except OAuthError as problem:
            return Reply(problem.status, orjson.dumps(problem.body), {})
        return Reply(200, orjson.dumps(body), {})

    async def _email(self, url: str, data: bytes, headers: Mapping[str, str]) -> Reply:
        path, simulation = urlsplit(url).path, self._simulation
        if simulation is None:
            raise _unreachable(url)
        await self._arrive("POST", path)
        known = CIMultiDict(headers)
        fault = simulation.faults.strike("POST", path, PLATFORM)
        more: dict[str, str] = {}
        try:
            simulation.resend.check_key(known.get("Authorization"))
            more = simulation.resend.gate.request()
            if fault is not None and not fault.after_effect:
                return _broken_email(url, fault)
            answer, email = simulation.resend.accept(data, known.get("Idempotency-Key"))
        except ResendError as problem:
            return Reply(problem.status, orjson.dumps(problem.body), {**more, **problem.headers})
        if email is not None:
            simulation.people.email_arrived(email.text)
        await self._after("POST", path)
        await asyncio.sleep(0)
        if fault is not None:
            return _broken_email(url, fault)
        return Reply(200, orjson.dumps(answer), more)


def _on_its_way(url: str, status: int, body: bytes, headers: Mapping[str, str], fault: Fault | None) -> Reply:
    """The answer, or what a fault leaves of it."""
    match fault.kind if fault is not None else None:
        case "timeout":
            raise TimeoutError
        case "drop":
            raise aiohttp.ServerDisconnectedError
        case "truncate":
            return Reply(status, body, headers, cut=True)
        case _:
            return Reply(status, body, headers)


def _broken_email(url: str, fault: Fault) -> Reply:
    match fault.kind:
        case "timeout":
            raise TimeoutError
        case "drop" | "truncate":
            raise aiohttp.ServerDisconnectedError
        case "rate_limited":
            return Reply(429, orjson.dumps({"name": "rate_limit_exceeded"}), {"Retry-After": "1"})
        case _:
            return Reply(500, orjson.dumps({"name": "application_error"}), {})


def _unreachable(url: str) -> aiohttp.ClientConnectionError:
    return aiohttp.ClientConnectionError(f"nobody is at {url}")


class Control(SimulatorClient):
    """The control API's client without a network: what happens at Stripe, to this simulation."""

    def __init__(self, simulation: Simulator) -> None:
        super().__init__("http://nowhere")
        self._simulation = simulation

    async def _any(self, method: str, path: str, body: Json | None = None, query: dict[str, str] | None = None) -> Any:
        handler, found = CONTROL.find(method, f"/_sim{path}")
        if handler is None:
            raise SimulatorError(404, f"no control at {method} {path}")
        try:
            return await handler(Ask(self._simulation, found, {**(query or {}), **(body or {})}))
        except ApiError as problem:
            raise SimulatorError(problem.status, str(problem.body)) from problem
        except (TypeError, ValueError, KeyError) as problem:
            raise SimulatorError(400, f"{type(problem).__name__}: {problem}") from problem
