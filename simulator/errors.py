"""Errors as Stripe sends them.

ApiError                 any answer with Stripe's `{"error": {…}}` body
└── ValidationFailed     the request was refused before its endpoint ran: nothing is saved for its key

Sources: docs.stripe.com/api/errors, docs.stripe.com/error-codes, docs.stripe.com/api/idempotent_requests.
"""

from typing import Any

from simulator.shapes import Json


class ApiError(Exception):
    """An answer that is not a success.

    `saved` says whether Stripe keeps the answer for the idempotency key: declines (402), what an
    endpoint refuses while it runs (400) and 500s are kept; 401, 403, 404, 409 and 429 are not.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",  # noqa: A002 - Stripe's own name for the field
        headers: dict[str, str] | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        details = {key: value for key, value in fields.items() if value is not None}
        self.body: Json = {"error": {"message": message, "type": type, **details}}

    @property
    def saved(self) -> bool:
        return self.status in {400, 402, 500, 501}


class ValidationFailed(ApiError):
    """The parameters do not fit the OpenAPI document; Stripe saves nothing for it."""

    @property
    def saved(self) -> bool:
        return False


def unknown_url(method: str, path: str) -> ApiError:
    return ApiError(404, f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs")


def not_imitated(what: str) -> ApiError:
    """Something that Stripe has and the simulator does not: refused loudly rather than ignored."""
    return ApiError(501, f"The simulator does not imitate {what}.", type="api_error", code="not_imitated")


def missing(kind: str, ident: str, param: str | None = None) -> ApiError:
    """An id in the address that this account does not have."""
    return ApiError(404, f"No such {kind}: '{ident}'", code="resource_missing", param=param or "id")


def missing_param(kind: str, ident: str, param: str) -> ApiError:
    """An id in a parameter that this account does not have (a 400 at Stripe, not a 404)."""
    return ApiError(400, f"No such {kind}: '{ident}'", code="resource_missing", param=param)


def bad_request(message: str, **fields: Any) -> ApiError:
    return ApiError(400, message, **fields)


def unauthorized(key: str | None) -> ApiError:
    if key is None:
        text = "You did not provide an API key. Provide it in the Authorization header, using Bearer auth."
        return ApiError(401, text)
    return ApiError(401, f"Invalid API Key provided: {masked(key)}")


def masked(key: str) -> str:
    """A key as Stripe's messages show it: its kind, stars and its last four letters."""
    return f"{key[:8]}{'*' * 8}{key[-4:]}" if len(key) > 16 else f"{key[:7]}****"


def missing_in_this_mode(status: int, kind: str, ident: str, param: str, other: str) -> ApiError:
    """An object that exists, but not for a key of this mode; `other` is the mode that has it (`live` or `test`)."""
    mine = "test" if other == "live" else "live"
    text = (
        f"No such {kind}: '{ident}'; a similar object exists in {other} mode, but a {mine} mode key was used to make "
        "this request."
    )
    return ApiError(status, text, code="resource_missing", param=param)


def account_invalid(account: str) -> ApiError:
    text = (
        f"The provided key does not have access to account '{account}' (or that account does not "
        "exist). Application access may have been revoked."
    )
    return ApiError(403, text, code="account_invalid")
