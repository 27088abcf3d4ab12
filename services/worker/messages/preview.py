"""A preview of every message in every language: HTML, text, and pictures for a desktop, a phone and its dark mode.

Pictures need a Chromium on the PATH. All facts are made up: no database, no Stripe, no customer.
"""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from html import escape
from pathlib import Path

from services.worker.messages.brand import Brand, brand_of
from services.worker.messages.campaign import LINKS, Link, Message
from services.worker.messages.language import LANGUAGES, Language, choose
from services.worker.messages.letters import (
    DIGEST,
    ENDED_NOTICE,
    Facts,
    Item,
    Letter,
    Week,
    texts,
    write,
    write_digest,
    write_ended_notice,
    write_several,
)
from services.worker.recovery import MessageKind
from shared.money import Money

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PICTURE_SECONDS = 30.0
AT_A_TIME = 2
_HEIGHT = 860
_WIDTH = 1580

# (tag, currency, name, color): a possible region of each language.
_PLACES = (
    ("en-US", "usd", "Northwind Coffee", "#0b6e4f"),
    ("de-DE", "eur", "Bergluft Verlag", "#5b2a86"),
    ("fr-FR", "eur", "Atelier Lumière", "#b3261e"),
    ("es-ES", "eur", "Librería del Sol", "#f2c14e"),
    ("pt-BR", "brl", "Padaria Boa Vista", "#1f4e8c"),
    ("ja-JP", "jpy", "さくら書店", "#c2185b"),
)
_SCENES = (("desk", 720, "light"), ("phone", 375, "light"), ("dark", 375, "dark"))


class NoBrowser(Exception):
    """Pictures were asked for, and there is no Chromium."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One message in one language."""

    name: str
    language: str
    letter: Letter

    @property
    def stem(self) -> str:
        """The name of the sample's files, without their endings."""
        return f"{self.language}/{self.name}"


def samples(languages: Sequence[str] = LANGUAGES) -> Iterator[Sample]:
    """All messages to customers and merchants in these languages, with made-up facts."""
    for tag, currency, name, color in _PLACES:
        language = choose([tag])
        if language.texts not in languages:
            continue
        account = {"business_profile": {"name": name}, "settings": {"branding": {"primary_color": color}}}
        brand = brand_of(account)
        page = "https://citadel.example/unsubscribe/sample"
        for message in Message:
            if message is not Message.SEVERAL:
                facts = _facts(message, language, currency)
                yield Sample(message, language.texts, write(message, language, brand, facts, page))
        # The last message of each kind says what follows.
        for message, then in _LAST:
            facts = replace(_facts(message, language, currency), then=then)
            yield Sample(f"{message}_{then}", language.texts, write(message, language, brand, facts, page))
        yield Sample(Message.SEVERAL, language.texts, _several(language, brand, currency, page))
        yield Sample(DIGEST, language.texts, _digest(language, brand, currency))
        yield Sample(ENDED_NOTICE, language.texts, _ended(language, brand, currency))


_LAST = (
    (Message.ACTION_REQUIRED, "cancel"),
    (Message.NEW_METHOD_NEEDED, "pause"),
    (Message.LAST_NOTICE, "cancel_open"),
    (Message.LAST_NOTICE, "stop"),
    (Message.LAST_NOTICE, "quiet"),
)


def _facts(message: Message, language: Language, currency: str) -> Facts:
    asks_for_a_card = LINKS[message] is Link.CARD
    return Facts(
        amount=language.amount(Money(2_900, currency)),
        because="expired_card" if asks_for_a_card else "insufficient_funds",
        then="cancel" if message is Message.LAST_NOTICE else None,
        retry_on=None if message is Message.LAST_NOTICE else language.day(date(2026, 9, 15)),
        deadline=language.day(date(2026, 9, 28)),
        ends_on=language.day(date(2026, 9, 29)),
        card="Visa •••• 4242",
        expires=language.month(2026, 10),
        paid_on=language.day(date(2026, 9, 12)),
        ended_on=language.day(date(2026, 9, 29)),
        goes_on=True,
        link="https://invoice.stripe.com/i/sample",
        invoice_link="https://invoice.stripe.com/i/sample" if asks_for_a_card else None,
    )


def _several(language: Language, brand: Brand, currency: str, page: str) -> Letter:
    kinds = {
        MessageKind.ACTION_REQUIRED: Message.ACTION_REQUIRED,
        MessageKind.NEW_METHOD_NEEDED: Message.NEW_METHOD_NEEDED,
        MessageKind.PAYMENT_FAILED: Message.REMINDER,
    }
    items = [
        Item(kind, replace(_facts(message, language, currency), number=f"A1B2C3D4-000{place}"))
        for place, (kind, message) in enumerate(kinds.items(), start=1)
    ]
    items[1] = replace(items[1], facts=replace(items[1].facts, then="cancel"))
    items[2] = replace(items[2], facts=replace(items[2].facts, amount=language.amount(Money(2_900, "gbp"))))
    amount = language.together(
        [language.amount(Money(minor, money)) for minor, money in ((5_800, currency), (2_900, "gbp"))]
    )
    return write_several(
        language, brand, Facts(amount=amount, count=3, link="https://billing.stripe.com/p/sample"), items, page
    )


def _ended(language: Language, brand: Brand, currency: str) -> Letter:
    due = language.amount(Money(2_900, currency))
    lines = [f"sub_1Sample{place} · in_1Sample{place} · {due}" for place in range(1, 4)]
    return write_ended_notice(language, brand, [("cancel", lines[:2]), ("mark_uncollectible", lines[2:])], 3)


def _digest(language: Language, brand: Brand, currency: str) -> Letter:
    def week(money: str) -> Week:
        shown = [language.amount(Money(minor, money)) for minor in (128_400, 214_900, 6_400, 3_200, 1_900)]
        recovered, failed, refunded, disputed, won_back = shown
        return Week(money.upper(), recovered, 31, failed, 52, 1, 87, refunded, disputed, won_back)

    first, last = (language.whole_day(date(2026, 9, day)) for day in (1, 7))
    return write_digest(language, brand, first, last, [week(currency), week("gbp")])


def write_pages(folder: Path, shown: Sequence[Sample]) -> Path:
    """Write each sample's HTML and text, and an index; returns the index's path."""
    for sample in shown:
        stem = folder / sample.stem
        stem.parent.mkdir(parents=True, exist_ok=True)
        stem.with_suffix(".html").write_text(sample.letter.html, encoding="utf-8")
        stem.with_suffix(".txt").write_text(f"{sample.letter.subject}\n\n{sample.letter.text}", encoding="utf-8")
    index = folder / "index.html"
    index.write_text(_index(shown), encoding="utf-8")
    return index


def find_browser() -> str:
    """The path of a Chromium. Raises NoBrowser."""
    for name in BROWSERS:
        found = shutil.which(name)
        if found is not None:
            return found
    raise NoBrowser(f"no Chromium on the PATH (looked for {', '.join(BROWSERS)}): no pictures were made")


async def take_pictures(folder: Path, shown: Sequence[Sample], browser: str) -> AsyncIterator[tuple[Sample, bool]]:
    """Make a PNG of each sample beside its HTML; yields each sample, when done, and whether it worked."""
    gate = asyncio.Semaphore(AT_A_TIME)

    async def one(sample: Sample) -> tuple[Sample, bool]:
        async with gate:
            return sample, await _picture(folder, sample, browser)

    for made in asyncio.as_completed([one(sample) for sample in shown]):
        yield await made


async def _picture(folder: Path, sample: Sample, browser: str) -> bool:
    target = (folder / sample.stem).with_suffix(".png").absolute()
    target.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="citadel-preview-") as scratch:
        sheet = Path(scratch) / "sheet.html"
        sheet.write_text(_sheet(sample), encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            browser,
            "--headless",
            "--no-sandbox",  # it opens our own page only
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={scratch}/profile",
            f"--window-size={_WIDTH},{_HEIGHT}",
            f"--screenshot={target}",
            sheet.as_uri(),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(PICTURE_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
    return target.exists()


def _sheet(sample: Sample) -> str:
    """One page with the email at the width of a desktop, of a phone, and of a phone in dark mode."""
    frames = "".join(
        f'<figure><figcaption>{scene}, {width} px</figcaption><iframe style="width:{width}px;color-scheme:{scheme}" '
        f'srcdoc="{escape(sample.letter.html)}"></iframe></figure>'
        for scene, width, scheme in _SCENES
    )
    return (
        f'<!doctype html><meta charset="utf-8"><title>{escape(sample.stem)}</title><style>{_STYLE}</style>'
        f"<h1>{escape(sample.letter.subject)}</h1><main>{frames}</main>"
    )


def _index(shown: Sequence[Sample]) -> str:
    rows = "".join(
        f'<li><a href="{sample.stem}.html">{escape(sample.letter.subject)}</a> '
        f'<small>{texts(sample.language)["language"]} · {sample.name} · <a href="{sample.stem}.png">picture</a> · '
        f'<a href="{sample.stem}.txt">text</a></small></li>'
        for sample in shown
    )
    return f'<!doctype html><meta charset="utf-8"><title>Emails</title><style>{_STYLE}</style><ul>{rows}</ul>'


_STYLE = """
body { margin: 16px; background: #d7dae0; color: #1c2330; font: 14px/1.5 system-ui, sans-serif }
h1 { margin: 0 0 8px; font-size: 16px }
main { display: flex; gap: 16px }
figure { margin: 0 }
figcaption { color: #5b6472 }
iframe { height: 780px; border: 0; background: #fff }
"""
