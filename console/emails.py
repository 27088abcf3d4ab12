"""`citadel emails`: shows the emails to customers and merchants."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

emails_app = typer.Typer(help="What customers and merchants are written.", no_args_is_help=True)


@emails_app.callback()
def emails() -> None:
    """The emails to customers and merchants."""


@emails_app.command()
def preview(
    out: Annotated[Path, typer.Option(help="Folder for the HTML, the texts and the pictures.")] = Path("emails"),
    language: Annotated[list[str] | None, typer.Option(help="en, de, fr, es, pt, ja; several times. All.")] = None,
    pictures: Annotated[bool, typer.Option("--png/--no-png", help="Pictures too, by a Chromium on the PATH.")] = True,
) -> None:
    """Write every email in every language to a folder, as HTML, text and PNG. Needs no settings and sends nothing."""
    from services.worker.messages import preview as made
    from services.worker.messages.language import LANGUAGES

    unknown = set(language or ()) - set(LANGUAGES)
    if unknown:
        raise typer.BadParameter(f"no texts in {', '.join(sorted(unknown))}; there are {', '.join(LANGUAGES)}")
    shown = list(made.samples(tuple(language or LANGUAGES)))
    index = made.write_pages(out, shown)
    print(f"{len(shown)} emails: {index}")
    if not pictures:
        return
    try:
        browser = made.find_browser()
    except made.NoBrowser as missing:
        print(f"citadel: {missing}", file=sys.stderr)
        return

    async def take() -> int:
        failed = 0
        async for sample, worked in made.take_pictures(out, shown, browser):
            if not worked:
                failed += 1
                print(f"citadel: no picture of {sample.stem}", file=sys.stderr)
        return failed

    failed = asyncio.run(take())
    print(f"{len(shown) - failed} pictures, by {browser}")
    if failed:
        raise typer.Exit(1)
