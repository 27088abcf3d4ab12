"""A TCP proxy that misbehaves on demand: it cuts, delays, refuses and holds back answers."""

import asyncio
import contextlib
import random
from collections.abc import Callable

HOST = "127.0.0.1"
_CHUNK = 1 << 16

Upstream = Callable[[], int | None]
"""Gives the present port behind the proxy; None while nothing listens there."""
Tap = Callable[[bytes], None]
"""Called with every chunk that a client sends, when it arrives."""


class Proxy:
    """Forwards connections to a port that may change. It knows nothing of the protocol.

    `delay_s` delays every chunk, in both directions. While `refusing`, new connections end at once. `hold()` holds back
    answers until `let_go()`.
    """

    def __init__(self, name: str, upstream: Upstream, tap: Tap | None = None) -> None:
        self.name = name
        self.delay_s = 0.0
        self.refusing = False
        self._upstream = upstream
        self._tap = tap
        self._passing = asyncio.Event()
        self._passing.set()
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = {}

    @property
    def port(self) -> int:
        """The port on which it listens."""
        if self._server is None:
            raise RuntimeError(f"{self.name} has not been started")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._open)

    async def start(self) -> None:
        """Listen on a free port of this machine."""
        self._server = await asyncio.start_server(self._accepted, HOST, 0)

    async def close(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        tasks = list(self._open)
        self.cut()
        self.let_go()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def cut(self, share: float = 1.0, rng: random.Random | None = None) -> int:
        """Reset each open connection, or a share of them; how many."""
        chosen = [pair for pair in self._open.values() if rng is None or rng.random() < share]
        for client, server in chosen:
            client.transport.abort()
            server.transport.abort()
        return len(chosen)

    def hold(self) -> None:
        """Hold back the server's answers from now on."""
        self._passing.clear()

    def let_go(self) -> None:
        """Forward the answers that were held back."""
        self._passing.set()

    def heal(self) -> None:
        """End all faults."""
        self.delay_s, self.refusing = 0.0, False
        self.let_go()

    async def _accepted(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        port = None if self.refusing else self._upstream()
        if port is None:
            to_client.transport.abort()
            return
        try:
            from_server, to_server = await asyncio.open_connection(HOST, port)
        except OSError:
            to_client.transport.abort()
            return
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a connection is served by a task")
        self._open[task] = (to_client, to_server)
        ways = (
            asyncio.create_task(self._pump(from_client, to_server, self._tap, held=False)),
            asyncio.create_task(self._pump(from_server, to_client, None, held=True)),
        )
        try:
            # No protocol here closes only one direction: the first end ends both.
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._open[task]
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for writer in (to_client, to_server):
                writer.close()
            await asyncio.gather(to_client.wait_closed(), to_server.wait_closed(), return_exceptions=True)

    async def _pump(
        self, source: asyncio.StreamReader, to: asyncio.StreamWriter, tap: Tap | None, *, held: bool
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await source.read(_CHUNK):
                if tap is not None:
                    tap(chunk)
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if held:
                    await self._passing.wait()
                to.write(chunk)
                await to.drain()
