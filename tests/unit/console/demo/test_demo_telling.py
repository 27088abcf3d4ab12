"""What the demo prints while it runs: plain lines where there is no terminal."""

import io
from dataclasses import dataclass

import pytest
from aiohttp import TCPConnector, web
from aiohttp.test_utils import TestServer
from rich.console import Console

from console.demo.connect import ConnectFailed, connect_all
from console.demo.progress import Teller


@dataclass
class _At:
    """Where auth would be."""

    auth_url: str

    def connector(self) -> TCPConnector:
        return TCPConnector()


def test_without_a_terminal_progress_is_a_plain_line_now_and_then() -> None:
    out = io.StringIO()
    teller = Teller(Console(file=out, width=96))

    with teller.counting("day", 12) as count:
        for day in range(1, 13):
            count.reached(day, f"no. {day}")

    told = [line.split("s  ")[1] for line in out.getvalue().splitlines()]
    assert told == ["day no. 5 (5 of 12)", "day no. 10 (10 of 12)", "day no. 12 (12 of 12)"]
    assert "\x1b" not in out.getvalue()


def test_on_a_terminal_progress_is_a_bar() -> None:
    out = io.StringIO()

    with Teller(Console(file=out, width=96, force_terminal=True)).counting("day", 2) as count:
        count.one_more()

    assert "\x1b[" in out.getvalue()


async def test_a_merchant_who_does_not_come_back_from_stripe_is_an_error_that_tells_the_way() -> None:
    async def refuse(_request: web.Request) -> web.Response:
        return web.Response(status=503, text="the database is away")

    app = web.Application()
    app.router.add_get("/auth/stripe", refuse)
    async with TestServer(app) as server:
        with pytest.raises(ConnectFailed, match=r"503 /auth/stripe.*the database is away"):
            await connect_all(_At(str(server.make_url("/")).rstrip("/")), 1, lambda: None)


async def test_an_auth_service_that_is_not_there_is_an_error_of_the_same_kind() -> None:
    with pytest.raises(ConnectFailed, match="could not connect"):
        await connect_all(_At("http://127.0.0.1:1"), 2, lambda: None)
