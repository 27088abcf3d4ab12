"""Messages in every language: whole, escaped, and written as their readers write."""

import re
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser
from typing import Any

import pytest

from services.worker.messages.brand import Brand, brand_of
from services.worker.messages.campaign import LINKS, Link, Message
from services.worker.messages.drafting import BECAUSE, DECLINED, because
from services.worker.messages.language import LANGUAGE_OF_COUNTRY, LANGUAGES, Language, choose
from services.worker.messages.letters import (
    DIGEST,
    Facts,
    Item,
    Week,
    again,
    texts,
    write,
    write_digest,
    write_ended_notice,
    write_several,
)
from services.worker.recovery import Decline, MessageKind
from shared.money import Money

PAGE, INVOICE, UNSUBSCRIBE = "https://x/?a=1&b=2", "https://invoice/?c=3", "https://us/unsubscribe/abc.def"
BRAND = Brand("<script> & Söhne", "#0b6e4f")


DEADLINE, ENDS_ON = date(2026, 9, 30), date(2026, 10, 1)


def facts(language: Language, **changes: Any) -> Facts:
    given: dict[str, Any] = {
        "amount": language.amount(Money(123_456, "eur")),
        "because": "declined",
        "retry_on": language.day(date(2026, 9, 12)),
        "deadline": language.day(DEADLINE),
        "ends_on": language.day(ENDS_ON),
        "card": "Visa •••• 4242",
        "expires": language.month(2026, 10),
        "paid_on": language.day(date(2026, 9, 8)),
        "link": PAGE,
        "invoice_link": INVOICE,
        **changes,
    }
    return Facts(**given)


class _Html(HTMLParser):
    """What a mail program sees: the links, the words, and whether every tag is closed."""

    VOID = frozenset(("meta", "br", "img", "link", "hr", "input"))

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.words: list[str] = []
        self.language: str | None = None
        self._open: list[str] = []
        self.feed(html)
        self.balanced = not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "html":
            self.language = given.get("lang")
        if tag == "a":
            self.links.append(given.get("href") or "")
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.VOID:
            return
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.words.append(data)


@pytest.mark.parametrize("tag", LANGUAGES)
@pytest.mark.parametrize("message", list(Message))
def test_a_message_is_whole_in_every_language(message: Message, tag: str) -> None:
    language = choose([tag])
    letter = write(message, language, BRAND, facts(language), UNSUBSCRIBE)
    page = _Html(letter.html)
    words = re.sub(r"\s+", " ", " ".join(page.words))
    assert page.balanced
    assert page.language == tag
    assert page.links[0] == PAGE
    assert page.links[-1] == UNSUBSCRIBE
    assert (INVOICE in page.links) == (message is Message.NEW_METHOD_NEEDED)
    assert letter.subject
    assert "\n" not in letter.subject
    assert PAGE in letter.text
    assert UNSUBSCRIBE in letter.text
    assert "<script>" not in letter.html
    for said in (words, letter.text, letter.subject):
        assert "<script> & Söhne" in said
        assert "None" not in said
        assert "{" not in said
    assert texts(tag)[message]["heading"].split("{")[0] in words


@pytest.mark.parametrize("message", list(Message))
def test_a_message_needs_only_what_it_cannot_do_without(message: Message) -> None:
    """No attempt ahead, no card, no reason, no page to unsubscribe on, no name of the merchant."""
    for tag in LANGUAGES:
        language = choose([tag])
        bare = facts(language, because=None, retry_on=None, card=None, paid_on=None, invoice_link=None)
        letter = write(message, language, Brand(None), bare)
        assert "None" not in letter.text + letter.html
        assert texts(tag)["someone"] in letter.text
        assert _Html(letter.html).links == [PAGE]


@pytest.mark.parametrize("tag", LANGUAGES)
def test_the_texts_of_a_language_are_those_of_the_first_one(tag: str) -> None:
    """The same texts with the same blanks: what one language tells, every other one does."""
    assert _blanks(texts(tag), plural=tag == "ja") == _blanks(texts(LANGUAGES[0]), plural=tag == "ja")


def _blanks(part: Any, *, plural: bool, path: str = "") -> dict[str, list[str]]:
    if isinstance(part, dict):
        kept = {key: value for key, value in part.items() if not (plural and key == "one")}
        return {
            where: found
            for key, value in kept.items()
            for where, found in _blanks(value, plural=plural, path=f"{path}.{key}").items()
        }
    if isinstance(part, list):
        return {
            where: found
            for number, value in enumerate(part)
            for where, found in _blanks(value, plural=plural, path=f"{path}[{number}]").items()
        }
    return {path: sorted(set(re.findall(r"{[{%] *(?:if |elif )?(\w+)", part)) - {"else", "endif"})}


@pytest.mark.parametrize("message", list(Message))
def test_every_message_has_its_texts_and_its_step(message: Message) -> None:
    assert message in LINKS
    asks = {Message.NEW_METHOD_NEEDED, Message.CARD_EXPIRING, Message.SEVERAL}
    assert (LINKS[message] is Link.CARD) == (message in asks)
    assert all(message in texts(tag) for tag in LANGUAGES)


DUNNING = (
    Message.PAYMENT_FAILED,
    Message.REMINDER,
    Message.LAST_NOTICE,
    Message.ACTION_REQUIRED,
    Message.NEW_METHOD_NEEDED,
)


@pytest.mark.parametrize("tag", LANGUAGES)
@pytest.mark.parametrize("message", DUNNING)
def test_a_last_message_of_any_kind_says_what_follows_and_when(tag: str, message: Message) -> None:
    language = choose([tag])
    said = {then: write(message, language, BRAND, facts(language, then=then)) for then in texts(tag)["then"]}
    assert len({letter.text for letter in said.values()}) == len(said) == 6
    for then in ("cancel", "pause", "stop"):
        assert language.day(ENDS_ON) in said[then].text
        assert language.day(ENDS_ON) in said[then].html
    assert "None" not in said["quiet"].text


@pytest.mark.parametrize("tag", LANGUAGES)
@pytest.mark.parametrize("message", DUNNING)
@pytest.mark.parametrize("then", ["cancel", "cancel_open", "pause", "pause_open", "stop", "quiet"])
def test_where_no_day_is_sure_none_is_named(tag: str, message: Message, then: str) -> None:
    language = choose([tag])
    unsure = facts(language, then=then, deadline=None, ends_on=None, retry_on=None)
    letter = write(message, language, BRAND, unsure)
    assert "None" not in letter.text + letter.html
    assert language.day(DEADLINE) not in letter.text + letter.subject


@pytest.mark.parametrize("tag", LANGUAGES)
def test_an_email_about_several_invoices_names_each_with_its_own_link(tag: str) -> None:
    language = choose([tag])
    kinds = (MessageKind.ACTION_REQUIRED, MessageKind.NEW_METHOD_NEEDED, MessageKind.PAYMENT_FAILED)
    items = [
        Item(kind, facts(language, amount=f"{place}00 €", number=f"F-{place}", link=f"https://invoice/{place}"))
        for place, kind in enumerate(kinds, start=1)
    ]
    together = Facts(amount=language.together(["600 €", "9 $"]), count=3, link=PAGE)
    letter = write_several(language, BRAND, together, items, UNSUBSCRIBE)
    page = _Html(letter.html)
    assert page.balanced
    assert [link for link in page.links if link.startswith("https://invoice/")] == [
        f"https://invoice/{n}" for n in (1, 2, 3)
    ]
    assert PAGE in page.links
    assert "600 €" in letter.text
    assert "9 $" in letter.text
    assert "3" in letter.subject
    for place in (1, 2, 3):
        assert f"{place}00 €" in letter.text
        assert f"F-{place}" in letter.text
        assert f"https://invoice/{place}" in letter.text


@pytest.mark.parametrize("tag", LANGUAGES)
def test_a_thank_you_says_that_it_goes_on_only_if_it_does(tag: str) -> None:
    language = choose([tag])
    goes, ends = (write(Message.RECOVERED, language, BRAND, facts(language, goes_on=on)).text for on in (True, False))
    assert goes != ends
    assert len(ends) < len(goes)
    assert write(Message.RECOVERED, language, BRAND, facts(language, count=2)).subject


@pytest.mark.parametrize("tag", LANGUAGES)
def test_a_merchant_is_told_what_has_ended_and_how(tag: str) -> None:
    groups = [("cancel", ["sub_1 · in_1 · $9.00"]), ("mark_uncollectible", ["in_2 · $1.00"])]
    letter = write_ended_notice(choose([tag]), BRAND, groups, 2)
    assert _Html(letter.html).balanced
    assert "2" in letter.subject
    for action, (line,) in groups:
        assert texts(tag)["ended_notice"]["groups"][action] in letter.text
        assert line in letter.text


def test_a_repeated_request_is_marked_as_one() -> None:
    language = choose(["fr"])
    letter = write(Message.ACTION_REQUIRED, language, BRAND, facts(language))
    assert again(letter, language).subject == f"Rappel : {letter.subject}"


def test_a_merchants_name_cannot_break_out_of_its_line() -> None:
    language = choose(["en"])
    letter = write(Message.PAYMENT_FAILED, language, Brand("Evil\r\nBcc: all@world\n{{ amount }}"), facts(language))
    assert letter.subject == "Your payment to Evil Bcc: all@world {{ amount }} did not go through"


# --- The digest -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", LANGUAGES)
@pytest.mark.parametrize("count", [0, 1, 2, 21])
def test_the_digest_counts_as_its_language_does(tag: str, count: int) -> None:
    language = choose([tag])
    week = Week(
        "EUR", language.amount(Money(100, "eur")), count, language.amount(Money(200, "eur")), count, count, count
    )
    letter = write_digest(language, BRAND, "1", "7", [week])
    for name in ("recovered", "failed", "attempts", "messages"):
        forms = texts(tag)[DIGEST][name]
        form = forms[language.plural(count)] if language.plural(count) in forms else forms["other"]
        assert form.split("{{ count }}")[1] in letter.text
    assert _Html(letter.html).balanced


def test_the_digest_has_one_payment_or_two_payments() -> None:
    language = choose(["en"])
    week = Week("USD", "$1.00", 1, "$2.00", 2, 1, 0)
    said = write_digest(language, BRAND, "May 1", "May 7", [week, week]).text
    assert said.count("$1.00 recovered, from 1 payment\n") == 2
    assert said.count("$2.00 newly failed, in 2 payments\n") == 2
    assert said.count("1 new attempt\n") == 2
    assert said.count("0 messages to customers\n") == 2


@pytest.mark.parametrize("tag", LANGUAGES)
def test_the_digest_tells_what_was_taken_back_and_only_then(tag: str) -> None:
    language = choose([tag])
    week = Week("EUR", "-1", 0, "-2", 0, 0, 0)
    quiet = write_digest(language, BRAND, "1", "7", [week]).text
    told = write_digest(language, BRAND, "1", "7", [replace(week, refunded="R-11", disputed="D-22", won_back="W-33")])
    for amount in ("R-11", "D-22", "W-33"):
        assert amount in told.text
        assert amount in told.html
    assert told.text.count("\n- ") == quiet.count("\n- ") + 3


# --- Languages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preferred", "country", "texts_", "region"),
    [
        (["en-GB"], None, "en", "en_GB"),
        (["de"], "US", "de", "de"),
        (["de_at"], None, "de", "de_AT"),
        (["zh-Hans-CN", "ja-JP"], None, "ja", "ja_JP"),
        (["pt-BR"], None, "pt", "pt_BR"),
        (["es-419"], None, "es", "es_419"),
        (["es-JP"], None, "es", "es"),
        (["sv-SE"], "DE", "de", "de_DE"),
        (["sv-SE"], None, "en", "en"),
        ([], "BR", "pt", "pt_BR"),
        ([], "CH", "en", "en_CH"),
        ([], "ZZ", "en", "en"),
        (["", "-", "x" * 200, "fr"], None, "fr", "fr"),
    ],
)
def test_the_first_language_that_there_are_texts_in_is_taken(
    preferred: list[str], country: str | None, texts_: str, region: str
) -> None:
    assert choose(preferred, country) == Language(texts_, region)


def test_every_country_s_language_is_one_that_there_are_texts_in() -> None:
    assert set(LANGUAGE_OF_COUNTRY.values()) == set(LANGUAGES) - {"en"}


@pytest.mark.parametrize(
    ("tag", "day", "month"),
    [
        ("en-US", "September 12", "October 2026"),
        ("en-GB", "12 September", "October 2026"),
        ("de", "12. September", "Oktober 2026"),
        ("fr", "12 septembre", "octobre 2026"),
        ("es", "12 de septiembre", "octubre de 2026"),
        ("pt", "12 de setembro", "outubro de 2026"),
        ("ja", "9月12日", "2026年10月"),
    ],
)
def test_a_day_is_written_as_its_reader_writes_it(tag: str, day: str, month: str) -> None:
    language = choose([tag])
    assert (language.day(date(2026, 9, 12)), language.month(2026, 10)) == (day, month)


# --- Brands -----------------------------------------------------------------------------------------------------------


def _account(color: str | None = None, **profile: Any) -> dict[str, Any]:
    return {"business_profile": profile or None, "settings": {"branding": {"primary_color": color}}, "country": "FR"}


@pytest.mark.parametrize(
    ("color", "ground", "ink"),
    [
        ("#0B6E4F", "#0b6e4f", "#ffffff"),
        ("#f2c14e", "#f2c14e", "#1c2330"),
        ("#ffffff", "#ffffff", "#1c2330"),
        (None, "#1c2330", "#ffffff"),
        ("red;background:url(https://evil)", "#1c2330", "#ffffff"),
        ("#12345", "#1c2330", "#ffffff"),
        ("#1234567", "#1c2330", "#ffffff"),
    ],
)
def test_a_button_has_the_brands_color_and_a_text_that_can_be_read_on_it(
    color: str | None, ground: str, ink: str
) -> None:
    brand = brand_of(_account(color, name="Fjord"))
    assert (brand.color, brand.on_color) == (ground, ink)


def test_a_merchants_name_is_the_one_that_its_customers_know() -> None:
    shown = {"dashboard": {"display_name": "Inside"}}
    assert brand_of(_account(name="Fjord"), "Invoice").name == "Fjord"
    assert brand_of({"settings": shown}, "Invoice").name == "Inside"
    assert brand_of({}, "Invoice").name == "Invoice"
    assert brand_of(_account(name="Fjord", support_email="help@fjord.example")).reply_to == "help@fjord.example"


# --- Reasons ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["lost_card", "stolen_card", "fraudulent", "merchant_blacklist", "pickup_card"])
def test_a_suspected_card_s_reason_is_not_told(code: str) -> None:
    assert because(Decline(decline_code=code)) == DECLINED


def test_a_known_harmless_reason_is_told() -> None:
    assert because(Decline(decline_code="insufficient_funds")) == "insufficient_funds"
    assert because(None) is None


@pytest.mark.parametrize("tag", LANGUAGES)
def test_every_reason_has_its_sentence(tag: str) -> None:
    assert set(texts(tag)["because"]) == {*BECAUSE.values(), DECLINED}


@pytest.mark.parametrize("language", LANGUAGES, ids=str)
def test_thanks_claim_of_the_subscription_only_what_is_so(language: str) -> None:
    spoken = choose((language,), None)
    last_day = spoken.day(date(2026, 10, 4))
    changes: dict[str, dict[str, Any]] = {
        "goes on": {"goes_on": True, "ends_on": None},
        "ends": {"ends_on": last_day},
        "unknown": {"ends_on": None},
    }
    said = {name: write(Message.RECOVERED, spoken, BRAND, facts(spoken, **each)).text for name, each in changes.items()}
    assert len(set(said.values())) == 3
    assert [name for name, text in said.items() if last_day in text] == ["ends"]
    assert len(said["unknown"]) < min(len(said["goes on"]), len(said["ends"]))
