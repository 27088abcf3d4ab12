"""Access that a key has not, and what an endpoint refuses: on demand, per method, path and account.

kind             the answer                                                         saved for its key
permission       403 `more_permissions_required`: a restricted key, a read-only grant       no
account_invalid  403 `account_invalid`: the account is out of reach                         no
expired_key      401 `api_key_expired`                                                      no
invalid_key      401 without a code                                                         no
wrong_mode       404 (400 for an id in a parameter) `resource_missing`: it exists in        no (404)
                 the other mode; lists are empty
missing          404 `resource_missing` of `object` and `missing`: not what was asked for   no
refused          `status` (400) with `code`, `message`, `param`: see `refusals`             yes, a 400

A restricted key's 403 had no code until 2025 (https://github.com/stripe/stripe-node/issues/2246, 2025-01-09) and has
`more_permissions_required` in answers that projects report in 2026; `code=""` gives the old one.
An expired key: https://github.com/stripe/stripe-cli/pull/792 (2021-12-02).
The other mode's objects: https://github.com/woocommerce/woocommerce-gateway-stripe/issues/1066 (2020-04-06).
"""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from simulator.errors import ApiError, account_invalid, masked, missing_in_this_mode, unauthorized
from simulator.refusals import REFUSALS
from simulator.shapes import Json

# Kinds that strike before a key, an address or a parameter is looked at.
AT_THE_DOOR = {"permission", "account_invalid", "expired_key", "invalid_key"}
KINDS = AT_THE_DOOR | {"wrong_mode", "missing", "refused"}
# What a key of either mode reads.
BOTH_MODES = {"/v1/account", "/v1/balance"}
# The parameters that name an object, with its kind as Stripe's messages call it.
REFERENCES = {
    "charge": "charge",
    "customer": "customer",
    "invoice": "invoice",
    "payment_intent": "payment_intent",
    "payment_method": "PaymentMethod",
    "subscription": "subscription",
}


@dataclass(slots=True)
class Barrier:
    """One rule. `method`, `path` and `account` are patterns; `account` is the `Stripe-Account`, or the platform's id.

    In force from when it was added until the simulated second `until` (None: for good), for `times` requests after
    the first `skip`. `permission` is the one that the key lacks (None: "more permissions"); `object` and `missing`
    are the kind and the id that are missing; `status`, `type`, `code`, `message` and `param` make the error of
    `refused`.
    """

    kind: str
    method: str = "*"
    path: str = "*"
    account: str = "*"
    until: int | None = None
    times: int | None = None
    skip: int = 0
    permission: str | None = None
    mode: str = "live"
    object: str = "customer"
    status: int | None = None
    type: str = "invalid_request_error"
    code: str | None = None
    message: str | None = None
    param: str | None = None
    missing: str = "cus_missing"
    id: str = ""
    hits: int = field(default=0)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Unknown barrier {self.kind!r}; known: {sorted(KINDS)}.")
        if self.kind == "refused" and self.message is None and self.code not in REFUSALS:
            raise ValueError(f"Say the message of {self.code!r}; known by their code: {sorted(REFUSALS)}.")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request wants: `object` and `ids` are of its address, `params` its decoded parameters."""

    method: str
    path: str
    account: str
    key: str = ""
    object: str = ""
    ids: tuple[str, ...] = ()
    params: Json = field(default_factory=dict)


class Access:
    """The barriers in force, in the order in which they were added; the first that stops a request wins."""

    def __init__(self) -> None:
        self._count = 0
        self.barriers: list[Barrier] = []

    def add(self, barrier: Barrier) -> Barrier:
        """Puts a barrier up."""
        self._count += 1
        barrier.id = barrier.id or f"barrier_{self._count}"
        self.barriers.append(barrier)
        return barrier

    def remove(self, ident: str | None = None) -> None:
        """Takes one barrier down, or all: the key was set right."""
        self.barriers = [] if ident is None else [each for each in self.barriers if each.id != ident]

    def at_the_door(self, asked: Asked, now: int) -> None:
        """Raises the 401 or 403 of whoever may not ask this at all."""
        barrier = self._first(asked, now, AT_THE_DOOR)
        if barrier is not None:
            raise _refused_at_the_door(barrier, asked)

    def inside(self, asked: Asked, now: int) -> Json | None:
        """Raises what the endpoint refuses; an empty list where the key's mode has nothing to list, else None."""
        barrier = self._first(asked, now, KINDS - AT_THE_DOOR)
        if barrier is None:
            return None
        match barrier.kind:
            case "wrong_mode":
                return _of_the_other_mode(barrier, asked)
            case "missing":
                text = f"No such {barrier.object}: '{barrier.missing}'"
                raise ApiError(barrier.status or 404, text, code="resource_missing", param=barrier.param or "id")
            case _:
                raise _refusal(barrier)

    def _first(self, asked: Asked, now: int, kinds: set[str]) -> Barrier | None:
        for barrier in self.barriers:
            over = (barrier.until is not None and now >= barrier.until) or barrier.hits == barrier.times
            if over or barrier.kind not in kinds or not _matches(barrier, asked):
                continue
            if barrier.skip > 0:
                barrier.skip -= 1
                continue
            barrier.hits += 1
            return barrier
        return None


def _matches(barrier: Barrier, asked: Asked) -> bool:
    return (
        fnmatchcase(asked.method, barrier.method)
        and fnmatchcase(asked.path, barrier.path)
        and fnmatchcase(asked.account, barrier.account)
    )


def _refused_at_the_door(barrier: Barrier, asked: Asked) -> ApiError:
    shown = masked(asked.key)
    match barrier.kind:
        case "account_invalid":
            return account_invalid(asked.account)
        case "expired_key":
            return ApiError(401, f"Expired API Key provided: {shown}", code="api_key_expired")
        case "invalid_key":
            return unauthorized(asked.key)
        case _:
            known = barrier.permission
            lacking = f"Having the '{known}' permission" if known else "Having more permissions"
            text = (
                f"The provided key '{shown}' does not have the required permissions for this endpoint on account "
                f"'{asked.account}'. {lacking} would allow this request to continue."
            )
            code = "more_permissions_required" if barrier.code is None else barrier.code or None
            return ApiError(403, text, code=code)


def _of_the_other_mode(barrier: Barrier, asked: Asked) -> Json | None:
    """The empty list of a mode in which nothing happened; raises for an object that is asked for by its id."""
    if asked.ids:
        raise missing_in_this_mode(404, asked.object, asked.ids[0], "id", barrier.mode)
    for name, kind in REFERENCES.items():
        if isinstance(asked.params.get(name), str):
            raise missing_in_this_mode(400, kind, asked.params[name], name, barrier.mode)
    if asked.method != "GET" or asked.path in BOTH_MODES:
        return None
    return {"object": "list", "data": [], "has_more": False, "url": asked.path}


def _refusal(barrier: Barrier) -> ApiError:
    known = REFUSALS.get(barrier.code or "")
    return ApiError(
        barrier.status or (known.status if known else 400),
        barrier.message or (known.message if known else ""),
        type=known.type if known and barrier.type == "invalid_request_error" else barrier.type,
        code=barrier.code,
        param=barrier.param or (known.param if known else None),
    )
