"""What an SDK answer or error carried, typed."""

from collections.abc import Mapping

import stripe

from simulator.shapes import Json


def details(problem: stripe.StripeError) -> Json:
    """The `error` object of an error's body."""
    body = problem.json_body
    assert isinstance(body, dict)
    error = body["error"]
    assert isinstance(error, dict)
    return error


def headers(answer: stripe.StripeObject | stripe.StripeError) -> Mapping[str, str]:
    """The headers that an answer or an error came with."""
    if isinstance(answer, stripe.StripeError):
        return answer.headers or {}
    response = answer.last_response
    assert response is not None
    return response.headers


def replayed(answer: stripe.StripeObject | stripe.StripeError) -> bool:
    """Whether the answer was saved for its idempotency key before."""
    return headers(answer).get("Idempotent-Replayed") == "true"
