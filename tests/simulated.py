"""Stripe and Resend, played by the simulator in the test's own process."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from simulator import Simulator, SimulatorClient, make_app
from tests.waiting import until


@dataclass(slots=True)
class Held:
    """Requests that are kept at the door: they have arrived, and nothing has been done about them yet."""

    method: str
    path: str
    arrived: int = 0
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def has_arrived(self) -> None:
        """Return when one is there."""
        await until(lambda: self.arrived, f"{self.method} {self.path} has arrived at the simulator")


class Door:
    """What every request to the simulator passes before anything is done about it."""

    def __init__(self) -> None:
        self._held: list[Held] = []

    @contextmanager
    def holding(self, method: str, path: str) -> Iterator[Held]:
        """Keep the requests that match during the block; at its end they go on. `*` matches anything, also slashes."""
        held = Held(method, path)
        self._held.append(held)
        try:
            yield held
        finally:
            self._held.remove(held)
            held.go_on.set()

    @property
    def middleware(self) -> Middleware:
        """aiohttp's middleware that stands there."""

        @web.middleware
        async def passes(request: web.Request, handler: Handler) -> web.StreamResponse:
            for held in self._held:
                if held.method == request.method and fnmatchcase(request.path, held.path):
                    held.arrived += 1
                    await held.go_on.wait()
                    break
            return await handler(request)

        return passes


@dataclass(frozen=True, slots=True)
class Simulated:
    """A simulation that is served at `url`, and who sets its scene."""

    simulation: Simulator
    url: str
    control: SimulatorClient
    door: Door


@asynccontextmanager
async def simulated(**settings: Any) -> AsyncIterator[Simulated]:
    """A simulation of its own during the block. The settings are the simulator's: `seed`, `start` and so on."""
    simulation, door = Simulator(**settings), Door()
    app = make_app(simulation)
    app.middlewares.append(door.middleware)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with SimulatorClient(url) as control:
            yield Simulated(simulation, url, control, door)
    finally:
        await runner.cleanup()
