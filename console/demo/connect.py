"""Connects merchants as a browser does: follows redirects, with cookies."""

import asyncio
from collections.abc import Callable, Sequence

import aiohttp

from console.demo.target import Reached, browsing


class ConnectFailed(Exception):
    """A merchant's OAuth flow did not end as expected."""


async def connect_all(target: Reached, merchants: int, connected: Callable[[], None], *, at_once: int = 4) -> None:
    """Send `merchants` browsers through the OAuth flow: our redirect, Stripe's page, our callback.

    Each browser is a session of its own, and gives consent for the next account that is not connected yet. `connected`
    is called for each. Raises ConnectFailed.
    """
    turns = asyncio.Semaphore(at_once)

    async def one() -> None:
        async with turns:
            await _connect(target)
        connected()

    first: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(merchants):
                group.create_task(one())
    except* (ConnectFailed, aiohttp.ClientError) as failed:
        first = failed.exceptions[0]
    if first is not None:
        raise ConnectFailed(f"a merchant could not connect: {first}") from first


async def _connect(target: Reached) -> None:
    async with (
        browsing(target) as browser,
        browser.get(f"{target.auth_url}/auth/stripe", allow_redirects=True, max_redirects=5) as page,
    ):
        text = await page.text()
        hops: Sequence[aiohttp.ClientResponse] = page.history
        if page.status != 200 or len(hops) < 2 or not str(page.url).startswith(target.auth_url):
            way = " -> ".join(f"{hop.status} {hop.url.path}" for hop in (*hops, page))
            raise ConnectFailed(f"{way}: {text[:300]}")
