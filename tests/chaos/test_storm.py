"""The tools of the storm: repeatable draws, and the proxy's faults."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import islice

import pytest

from tests.chaos.monkey import Monkey, draws
from tests.chaos.moods import EVERYDAY, MOODS
from tests.chaos.proxy import HOST, Proxy


def test_the_same_seed_draws_the_same_storm() -> None:
    def first(seed: int) -> list[tuple[str, float, float]]:
        return [(name, rng.random(), pause) for name, rng, pause in islice(draws(seed, EVERYDAY, (0, 1)), 200)]

    assert first(7) == first(7)
    assert first(7) != first(8)


@pytest.mark.parametrize("mood", MOODS)
def test_the_monkey_knows_every_fault_of_a_mood(mood: str) -> None:
    assert [name for name in MOODS[mood] if not hasattr(Monkey, f"_{name}")] == []


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """The port of a server that sends everything back."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while line := await reader.readline():
                writer.write(line)
        writer.close()

    async with await asyncio.start_server(answer, HOST, 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def heard() -> list[bytes]:
    """What the proxy has noted."""
    return []


@pytest.fixture
async def proxy(echo: int, heard: list[bytes]) -> AsyncIterator[Proxy]:
    made = Proxy("echo", lambda: echo, heard.append)
    await made.start()
    yield made
    await made.close()


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(b"hello\n")
    return await reader.readline()


async def test_the_proxy_passes_on_and_is_overheard(proxy: Proxy, heard: list[bytes]) -> None:
    async with connected(proxy) as (reader, writer):
        assert await ask(reader, writer) == b"hello\n"
    assert heard == [b"hello\n"]


async def test_a_cut_connection_ends_and_the_next_one_works(proxy: Proxy) -> None:
    async with connected(proxy) as (reader, writer):
        await ask(reader, writer)
        assert proxy.cut() == 1
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
    async with connected(proxy) as (reader, writer):
        assert await ask(reader, writer) == b"hello\n"


async def test_answers_are_kept_back_until_they_are_let_go(proxy: Proxy) -> None:
    async with connected(proxy) as (reader, writer):
        proxy.hold()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ask(reader, writer)
        proxy.let_go()
        assert await reader.readline() == b"hello\n"


async def test_a_refusing_proxy_lets_nobody_in(proxy: Proxy) -> None:
    proxy.refusing = True
    async with connected(proxy) as (reader, _):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
