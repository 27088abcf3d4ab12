"""Writes an email from facts, texts and the layout: a subject, a text and HTML.

Every text is rendered twice, as plain text and as HTML; in HTML every fact is escaped. The layout is MJML, from which
`mrml` makes HTML tables that old and new mail programs show alike.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any

import mrml
from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.filters import do_mark_safe
from markupsafe import Markup

from services.worker.messages.brand import Brand
from services.worker.messages.campaign import Message
from services.worker.messages.language import Language
from services.worker.recovery import MessageKind

DIGEST = "weekly_digest"
ENDED_NOTICE = "ended_notice"
# The facts that texts check for before they use them. A text that uses any other missing fact fails.
_MAY_BE_MISSING = frozenset(("retry_on", "deadline", "ends_on", "card", "paid_on", "ended_on", "number", "link"))
_SPACES = re.compile(r"[ \t\r\n]+")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a message to a customer may say, already in the recipient's language; None for what is unknown.

    `because` is a name of the texts' `because`, `then` of their `then`: what follows if nobody pays. `retry_on`,
    `deadline`, `ends_on`, `paid_on` and `ended_on` are days; `expires` is a month (`expired`: one that is over).
    `count` is how many invoices it is about; `number` is what the customer knows one by. `goes_on`, `paused`: the
    subscription. `link` is where the button leads, `invoice_link` the second way to pay.
    """

    amount: str | None = None
    count: int = 1
    number: str | None = None
    because: str | None = None
    then: str | None = None
    retry_on: str | None = None
    deadline: str | None = None
    ends_on: str | None = None
    card: str | None = None
    expires: str | None = None
    expired: bool = False
    paid_on: str | None = None
    ended_on: str | None = None
    goes_on: bool = False
    paused: bool = False
    link: str | None = None
    invoice_link: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One invoice of an email about several: what is asked for, and its facts. Their `link` is the invoice's own."""

    kind: MessageKind
    facts: Facts


@dataclass(frozen=True, slots=True)
class Week:
    """A merchant's week in one currency, its amounts as text. `recovered` is less what was taken back since."""

    currency: str
    recovered: str
    recovered_count: int
    failed: str
    failed_count: int
    attempts: int
    messages: int
    refunded: str | None = None
    disputed: str | None = None
    won_back: str | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """An email without its envelope."""

    subject: str
    text: str
    html: str


def _bold(value: object) -> Markup:
    return Markup("<strong>{}</strong>").format(value)


def _environment(*, html: bool) -> Environment:
    made = Environment(
        loader=PackageLoader("services.worker.messages"),
        autoescape=html,  # noqa: S701 - off for plain text only, which has nothing to escape
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["strong"] = _bold if html else str
    return made


_PLAIN, _HTML = _environment(html=False), _environment(html=True)


@cache
def texts(language: str) -> Mapping[str, Any]:
    """The texts of one of `language.LANGUAGES`."""
    source = files("services.worker.messages") / "templates" / "texts" / f"{language}.toml"
    return tomllib.loads(source.read_text(encoding="utf-8"))


@cache
def _compiled(source: str, html: bool) -> Any:
    return (_HTML if html else _PLAIN).from_string(source)


class _Voice:
    """The texts of a language with the facts in them, plain or as HTML."""

    def __init__(self, language: Language, facts: Mapping[str, Any], *, html: bool) -> None:
        self._facts, self._html = facts, html
        self.texts = texts(language.texts)

    def say(self, source: str, **more: Any) -> str:
        """One text, on one line."""
        said = _SPACES.sub(" ", _compiled(source, self._html).render({**self._facts, **more})).strip()
        # The escaping environment gives HTML already: the layout must not escape it again.
        return do_mark_safe(said) if self._html else said


def _known(facts: Facts, language: Language, brand: Brand) -> dict[str, Any]:
    known = {field.name: getattr(facts, field.name) for field in fields(facts)}
    said = {name: value for name, value in known.items() if value is not None or name in _MAY_BE_MISSING}
    return {**said, "business": brand.name or texts(language.texts)["someone"]}


def _phrases(voice: _Voice, facts: Facts) -> dict[str, str]:
    """The sentences that several texts contain: why it failed, and what follows."""
    return {
        name: voice.say(voice.texts[name][chosen]) if chosen else ""
        for name, chosen in (("because", facts.because), ("then", facts.then))
    }


def write(message: Message, language: Language, brand: Brand, facts: Facts, unsubscribe: str | None = None) -> Letter:
    """A message to a customer; `unsubscribe` is the page on which the customer ends all messages."""
    said = _known(facts, language, brand)
    # After an end nobody is told that they have a subscription, unless it goes on.
    over = message in {Message.RECOVERED, Message.ENDED} and not facts.goes_on
    footer = "footer_after" if over else "footer"

    def parts(*, html: bool) -> dict[str, Any]:
        voice = _Voice(language, said, html=html)
        own = voice.texts[message]
        phrases = _phrases(voice, facts)
        return {
            **_frame(voice, own, unsubscribe, footer),
            "lines": [voice.say(line, **phrases) for line in own["lines"]],
            "button": voice.say(own["button"]) if facts.link else None,
            "link": facts.link,
            "other": voice.say(own["other"]) if facts.invoice_link and "other" in own else None,
            "other_link": facts.invoice_link,
            "items": (),
        }

    return _letter(language, brand, parts(html=False), parts(html=True))


def write_several(
    language: Language, brand: Brand, facts: Facts, items: Sequence[Item], unsubscribe: str | None = None
) -> Letter:
    """A message about several invoices; `facts` are of all together, their `link` is the form for another card."""
    said = _known(facts, language, brand)

    def parts(*, html: bool) -> dict[str, Any]:
        voice = _Voice(language, said, html=html)
        own = voice.texts[Message.SEVERAL]

        def item(each: Item) -> dict[str, str | None]:
            alone = _Voice(language, _known(each.facts, language, brand), html=html)
            return {
                "text": alone.say(own["items"][each.kind], **_phrases(alone, each.facts)),
                "label": alone.say(own["links"][each.kind]) if each.facts.link else None,
                "link": each.facts.link,
            }

        return {
            **_frame(voice, own, unsubscribe, "footer"),
            "lines": [voice.say(line) for line in own["lines"]],
            "button": voice.say(own["button"]) if facts.link else None,
            "link": facts.link,
            "other": None,
            "other_link": None,
            "items": [item(each) for each in items],
        }

    return _letter(language, brand, parts(html=False), parts(html=True))


def _frame(voice: _Voice, own: Mapping[str, Any], unsubscribe: str | None, footer: str) -> dict[str, Any]:
    """What is around the lines of every message to a customer."""
    return {
        "subject": voice.say(own["subject"]),
        "preview": voice.say(own["preview"]),
        "heading": voice.say(own["heading"]),
        "note": voice.say(own["note"]) if "note" in own else None,
        "footer": voice.say(voice.texts[footer]),
        "unsubscribe": voice.say(voice.texts["unsubscribe"]) if unsubscribe else None,
        "unsubscribe_link": unsubscribe,
        "groups": (),
    }


def again(letter: Letter, language: Language) -> Letter:
    """The same letter, its subject marked as a reminder."""
    subject = _Voice(language, {"subject": letter.subject}, html=False).say(texts(language.texts)["again"])
    return Letter(subject, letter.text, letter.html)


def write_digest(language: Language, brand: Brand, first: str, last: str, weeks: Sequence[Week]) -> Letter:
    """The weekly digest to a merchant; `first` and `last` are days as text."""
    business = brand.name or texts(language.texts)["someone"]
    said = {"first": first, "last": last, "business": business}

    def parts(*, html: bool) -> dict[str, Any]:
        voice = _Voice(language, said, html=html)
        own = voice.texts[DIGEST]

        def count(name: str, number: int, amount: str | None = None) -> str:
            forms = own[name]
            return voice.say(forms.get(language.plural(number), forms["other"]), count=number, amount=amount)

        told = [
            {
                "title": week.currency,
                "lines": [
                    count("recovered", week.recovered_count, week.recovered),
                    *(
                        voice.say(own[name], amount=amount)
                        for name in ("refunded", "disputed", "won_back")
                        if (amount := getattr(week, name)) is not None
                    ),
                    count("failed", week.failed_count, week.failed),
                    count("attempts", week.attempts),
                    count("messages", week.messages),
                ],
            }
            for week in weeks
        ]
        return {
            **{name: voice.say(own[name]) for name in ("subject", "preview", "heading", "note", "footer")},
            **dict.fromkeys(("button", "other", "unsubscribe", "link", "other_link", "unsubscribe_link")),
            "items": (),
            "lines": [voice.say(line) for line in own["lines"]],
            "groups": told,
        }

    return _letter(language, brand, parts(html=False), parts(html=True))


def write_ended_notice(
    language: Language, brand: Brand, groups: Sequence[tuple[str, Sequence[str]]], count: int
) -> Letter:
    """The notice to a merchant of what was ended for lack of payment: lines by end action."""
    business = brand.name or texts(language.texts)["someone"]

    def parts(*, html: bool) -> dict[str, Any]:
        voice = _Voice(language, {"business": business, "count": count}, html=html)
        own = voice.texts[ENDED_NOTICE]
        return {
            **{name: voice.say(own[name]) for name in ("subject", "preview", "heading", "note", "footer")},
            **dict.fromkeys(("button", "other", "unsubscribe", "link", "other_link", "unsubscribe_link")),
            "items": (),
            "lines": [voice.say(line) for line in own["lines"]],
            "groups": [{"title": voice.say(own["groups"][action]), "lines": lines} for action, lines in groups],
        }

    return _letter(language, brand, parts(html=False), parts(html=True))


def _letter(language: Language, brand: Brand, plain: dict[str, Any], html: dict[str, Any]) -> Letter:
    text = _PLAIN.get_template("letter.txt").render(plain)
    look = {"lang": language.tag, "brand": brand, **html}
    made = mrml.to_html(_HTML.get_template("letter.mjml").render(look))
    return Letter(plain["subject"], text, made.content)
