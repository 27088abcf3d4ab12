"""How the control API's client talks to `/_sim`: JSON both ways, a refusal as an exception."""

from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from simulator.shapes import Json


class SimulatorError(Exception):
    """The control API refused something; the message is its reason."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Wire:
    """Requests to one simulator; an async context manager that opens a session unless it is given one."""

    def __init__(self, url: str, session: aiohttp.ClientSession | None = None) -> None:
        self.url = url.rstrip("/")
        self._session = session
        self._own = session is None

    async def __aenter__(self) -> Self:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=600)
            self._session = aiohttp.ClientSession(timeout=timeout)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._own and self._session is not None:
            await self._session.close()
            self._session = None

    # -- requests ------------------------------------------------------------------------------------

    async def _post(self, path: str, body: Json | None = None) -> Json:
        return await self._request("POST", path, body)

    async def _request(self, method: str, path: str, body: Json | None = None) -> Json:
        answer: Json = await self._any(method, path, body)
        return answer

    async def _list(self, path: str, query: dict[str, str] | None = None) -> list[Json]:
        answer: list[Json] = await self._any("GET", path, query=query)
        return answer

    async def _any(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        query: dict[str, str] | None = None,
    ) -> Any:
        if self._session is None:
            raise RuntimeError("use `async with SimulatorClient(url)`")
        data = orjson.dumps(body) if body is not None else None
        address = f"{self.url}/_sim{path}"
        async with self._session.request(method, address, data=data, params=query) as response:
            answer = orjson.loads(await response.read())
        if response.status != 200:
            error = answer.get("error")
            text = error.get("message", error) if isinstance(error, dict) else error
            raise SimulatorError(response.status, str(text))
        return answer
