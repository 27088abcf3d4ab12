"""What is printed when the stack is up: its addresses, and what to set at Stripe."""

from collections.abc import Iterable

from shared.events.routing import ROUTES


def announcement(public_url: str, simulator_url: str | None) -> Iterable[str]:
    """Lines to print. `public_url` is the edge's address; `simulator_url` the simulator's, if there is one."""
    yield f"The Citadel is up at {public_url}"
    yield ""
    yield from _labelled(
        ("merchants", f"{public_url}/auth/stripe"),
        ("API", f"{public_url}/v1/… (described by {public_url}/openapi.json)"),
        ("API keys", "make key NAME=dashboard" + (" SIMULATOR=1" if simulator_url else "")),
    )
    yield ""
    if simulator_url:
        yield "Stripe and Resend are simulated:"
        yield from _labelled(
            ("control", f"{simulator_url}/_sim/summary"),
            ("story", "make demo TARGET=compose"),
        )
    else:
        yield "At Stripe (https://dashboard.stripe.com), in the mode of your secret key:"
        yield from _labelled(
            ("webhook", f"{public_url}/webhooks/stripe, for events on connected accounts"),
            ("events", ", ".join(sorted(ROUTES))),
            ("redirect", f"{public_url}/auth/stripe/callback, in the settings of Connect's OAuth"),
        )


def _labelled(*lines: tuple[str, str]) -> Iterable[str]:
    for label, text in lines:
        yield f"  {label:<11}{text}"
