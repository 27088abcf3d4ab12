"""`citadel emails preview`: every message in every language, and a plain word where there is no browser."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from console.emails import emails_app
from services.worker.messages import preview
from services.worker.messages.campaign import Message
from services.worker.messages.language import LANGUAGES
from services.worker.messages.letters import DIGEST, ENDED_NOTICE

LAST = {
    "action_required_cancel",
    "new_method_needed_pause",
    "last_notice_cancel_open",
    "last_notice_stop",
    "last_notice_quiet",
}
NAMES = {*Message, *LAST, DIGEST, ENDED_NOTICE}


def test_every_message_is_there_in_every_language(tmp_path: Path) -> None:
    result = CliRunner().invoke(emails_app, ["preview", "--out", str(tmp_path), "--no-png"])
    assert result.exit_code == 0, result.output
    for language in LANGUAGES:
        for suffix in (".html", ".txt"):
            assert {path.stem for path in (tmp_path / language).glob(f"*{suffix}")} == NAMES
    index = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert all(f'href="{language}/{name}.html"' in index for language in LANGUAGES for name in NAMES)


def test_without_a_browser_it_says_so_and_writes_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = CliRunner().invoke(emails_app, ["preview", "--out", str(tmp_path), "--language", "ja"])
    assert result.exit_code == 0
    assert "no Chromium on the PATH" in result.output
    assert len(list((tmp_path / "ja").glob("*.html"))) == len(NAMES)
    assert list(tmp_path.rglob("*.png")) == []


def test_a_language_without_texts_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(emails_app, ["preview", "--out", str(tmp_path), "--language", "tlh"])
    assert result.exit_code == 2
    assert "tlh" in result.output


async def test_a_browser_that_makes_no_picture_is_told_of(tmp_path: Path) -> None:
    """`true` starts, ends well, and draws nothing."""
    (first, *_) = preview.samples(["en"])
    preview.write_pages(tmp_path, [first])
    made = [(sample.stem, worked) async for sample, worked in preview.take_pictures(tmp_path, [first], "true")]
    assert made == [(first.stem, False)]


async def test_a_browser_makes_a_picture(tmp_path: Path) -> None:
    try:
        browser = preview.find_browser()
    except preview.NoBrowser as missing:
        pytest.skip(str(missing))
    (first, *_) = preview.samples(["ja"])
    preview.write_pages(tmp_path, [first])
    made = [worked async for _, worked in preview.take_pictures(tmp_path, [first], browser)]
    assert made == [True]
    assert (tmp_path / f"{first.stem}.png").read_bytes().startswith(b"\x89PNG")
