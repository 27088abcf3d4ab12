"""A request's way through `/v1`: who asks, fault, key, parameters, endpoint, answer."""

import asyncio
from dataclasses import dataclass, field

import orjson

from simulator.access import Asked
from simulator.endpoints import ENDPOINTS, Call
from simulator.errors import ApiError, account_invalid, missing_param, not_imitated, unauthorized
from simulator.expand import check_levels, expand
from simulator.faults import Fault
from simulator.idempotency import Saved
from simulator.shapes import Json
from simulator.showing import shown
from simulator.simulation import PLATFORM, LoggedRequest, Simulator
from simulator.stripe_document import api_version
from simulator.validation import Operation, stripe_api
from simulator.world import BY_ITSELF, Account, Origin


@dataclass(frozen=True, slots=True)
class Request:
    """What came in; `text` is the query string of a GET or DELETE, the form body of a POST."""

    method: str
    path: str
    text: str
    authorization: str | None = None
    account: str | None = None
    key: str | None = None
    version: str | None = None


@dataclass(slots=True)
class Answer:
    """What goes out, and the fault that may still break it on its way."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    fault: Fault | None = None


class StripeApi:
    """Answers Stripe requests for one simulation."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._document = stripe_api()

    async def answer(self, request: Request) -> Answer:
        """The answer to a request; never raises for what a client can do wrong."""
        simulator = self._simulator
        simulator.request_count += 1
        request_id = f"req_{simulator.request_count:014d}"
        path = request.path
        fault = simulator.faults.strike(request.method, path, request.account or PLATFORM)
        params: Json = {}
        try:
            account = self._account(request)
            if simulator.access.barriers:
                simulator.access.at_the_door(_asked(request), simulator.world.clock.now)
            if fault:
                await _before(fault)
            operation, ids = self._document.find(request.method, path)
            answer = await self._keyed(request, account, operation, ids, params, fault, request_id)
        except ApiError as problem:
            answer = _failure(problem)
        except _NoAnswer:
            answer = Answer(0, b"")
        answer.fault = fault
        if fault and fault.should_retry is not None:
            answer.headers["Stripe-Should-Retry"] = str(fault.should_retry).lower()
        answer.headers["Request-Id"] = request_id
        answer.headers["Stripe-Version"] = request.version or api_version()
        self._log(request, request_id, params, answer)
        return answer

    # -- who asks --------------------------------------------------------------------------------

    def _account(self, request: Request) -> Account:
        key = _key(request)
        simulator = self._simulator
        accounts = simulator.world.accounts
        owner = simulator.oauth.tokens.get(key or "")
        if key is None or (key != simulator.settings.secret_key and owner is None):
            raise unauthorized(key)
        if request.account is None:
            return accounts[owner or PLATFORM]
        account = accounts.get(request.account)
        if account is None or not account.connected or (owner and owner != account.id):
            raise account_invalid(request.account)
        return account

    # -- key, parameters, endpoint ---------------------------------------------------------------

    async def _keyed(
        self,
        request: Request,
        account: Account,
        operation: Operation,
        ids: dict[str, str],
        params: Json,
        fault: Fault | None,
        request_id: str,
    ) -> Answer:
        key = request.key if request.method == "POST" else None
        if key is None:
            params.update(operation.decode(request.text))
            await _slow(fault)
            return self._run(request, account, operation, ids, params, fault, request_id)
        keys, now = self._simulator.keys, self._simulator.world.clock.now
        same = f"{request.path}?{'&'.join(sorted(request.text.split('&')))}"
        saved = keys.begin(account.id, key, same, now)
        if saved is not None:
            params.update(operation.decode(request.text))
            return _replayed(saved)
        answer: Answer | None = None
        try:
            params.update(operation.decode(request.text))
            await _slow(fault)
            answer = self._run(request, account, operation, ids, params, fault, request_id)
        except ApiError as problem:
            if problem.saved:
                answer = _failure(problem)
            else:
                raise
        finally:
            if answer is None:
                keys.forget(account.id, key)
            else:
                keys.save(account.id, key, answer.status, answer.body, request_id)
        return answer

    def _run(
        self,
        request: Request,
        account: Account,
        operation: Operation,
        ids: dict[str, str],
        params: Json,
        fault: Fault | None,
        request_id: str,
    ) -> Answer:
        """The endpoint itself, in one step that nothing can come between."""
        broken = fault is not None and fault.kind == "server_error"
        if broken and fault and not fault.after_effect:
            raise _server_error()
        endpoint = ENDPOINTS.get((operation.method, operation.template))
        if endpoint is None:
            raise not_imitated(f"{operation.method} {operation.template}")
        world = self._simulator.world
        if self._simulator.access.barriers:
            nothing = self._simulator.access.inside(_asked(request, operation, ids, params), world.clock.now)
            if nothing is not None:
                return Answer(200, orjson.dumps(nothing))
        paths, levels = params.get("expand", []), self._simulator.settings.expand_levels
        _check_expand(account, ids, paths, levels)
        world.origin = Origin(request_id, request.key)
        try:
            body = endpoint(Call(self._simulator, account, ids, _of_customers(account, params), request.path))
        except ApiError as problem:
            problem.body = shown(account, problem.body)
            raise
        finally:
            world.origin = BY_ITSELF
        if broken:
            raise _server_error()
        if self._simulator.settings.validate_responses:
            self._document.check_answer(operation, shown(account, body))
        body = shown(account, expand(account, body, paths, levels))
        return Answer(200, orjson.dumps(body))

    def thin_event(self, request: Request, ident: str) -> Answer:
        """`GET /v2/core/events/:id`; the account is the `Stripe-Context`."""
        simulator = self._simulator
        simulator.request_count += 1
        request_id = f"req_{simulator.request_count:014d}"
        try:
            account = self._account(request)
            simulator.access.at_the_door(_asked(request), simulator.world.clock.now)
            answer = Answer(200, orjson.dumps(simulator.meters.full(account, ident)))
        except ApiError as problem:
            answer = _failure(problem)
        answer.headers["Request-Id"] = request_id
        self._log(request, request_id, {}, answer)
        return answer

    def _log(self, request: Request, request_id: str, params: Json, answer: Answer) -> None:
        simulator = self._simulator
        fault = answer.fault
        unseen = fault is not None and fault.kind in {"timeout", "drop", "truncate"}
        simulator.requests.append(
            LoggedRequest(
                seq=simulator.request_count,
                id=request_id,
                at=simulator.world.clock.now,
                method=request.method,
                path=request.path,
                params=params,
                idempotency_key=request.key,
                account=request.account or PLATFORM,
                version=request.version,
                status=0 if unseen else answer.status,
                replayed="Idempotent-Replayed" in answer.headers,
                fault=fault.kind if fault else None,
            )
        )


def _of_customers(account: Account, params: Json) -> Json:
    """The parameters with a `customer_account` as the customer that it is."""
    asked = params.get("customer_account")
    if asked is None:
        return params
    for customer, known in account.as_accounts.items():
        if known == asked:
            return {
                **{name: value for name, value in params.items() if name != "customer_account"},
                "customer": customer,
            }
    raise missing_param("account", asked, "customer_account")


def _key(request: Request) -> str | None:
    return (request.authorization or "").removeprefix("Bearer ").strip() or None


def _asked(
    request: Request, operation: Operation | None = None, ids: dict[str, str] | None = None, params: Json | None = None
) -> Asked:
    """A request as barriers see it: at the door, and once its address and parameters are understood."""
    kind = operation.template.split("/")[2].removesuffix("s") if operation else ""
    return Asked(
        method=request.method,
        path=request.path,
        account=request.account or PLATFORM,
        key=_key(request) or "",
        object=kind,
        ids=tuple((ids or {}).values()),
        params=params or {},
    )


def _check_expand(account: Account, ids: dict[str, str], paths: list[str], levels: int) -> None:
    """Refuses what cannot be expanded before the endpoint has done anything."""
    if paths and ids:
        found = account.find(next(iter(ids.values())))
        if found is not None:
            expand(account, found, paths, levels)
    check_levels(paths, levels)


class _NoAnswer(Exception):
    """A fault took the request before anything happened."""


async def _before(fault: Fault) -> None:
    """What strikes before the endpoint runs, and before a key is looked at."""
    match fault.kind:
        case "rate_limited":
            raise ApiError(
                429,
                "Request rate limit exceeded.",
                code="rate_limit",
                headers={"Stripe-Rate-Limited-Reason": fault.reason},
            )
        case "lock_timeout":
            raise ApiError(
                fault.status,
                "This object cannot be accessed right now because another API request or Stripe "
                "process is currently accessing it.",
                code="lock_timeout",
            )
        case "timeout" | "drop" if not fault.after_effect:
            raise _NoAnswer
        case _:
            return


async def _slow(fault: Fault | None) -> None:
    if fault is not None and fault.latency_ms:
        await asyncio.sleep(fault.latency_ms / 1000)


def _server_error() -> ApiError:
    return ApiError(500, "An unknown error occurred.", type="api_error")


def _failure(problem: ApiError) -> Answer:
    return Answer(problem.status, orjson.dumps(problem.body), dict(problem.headers))


def _replayed(saved: Saved) -> Answer:
    headers = {"Idempotent-Replayed": "true", "Original-Request": saved.request_id}
    return Answer(saved.status, saved.body or b"", headers)
