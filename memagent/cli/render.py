"""`memagent render`: a Markdown file as the picture that a model would see."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memagent.cli.common import Json, print_result, print_status

if TYPE_CHECKING:
    from memagent_renderers.budget import Budget, Picture
    from memagent_renderers.engines import Engine

_ENGINES = {"chromium": "browser"}
"""Names by which engines are asked for here, where they differ."""


class Mode(StrEnum):
    """How a page meets its budget."""

    fit = "fit"
    shrink = "shrink"
    uniform = "uniform"


def command(
    file: Annotated[Path, typer.Argument(help="Markdown file.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="OUT.png", help="Picture to write; FILE.png when not given.")
    ] = None,
    budget: Annotated[int, typer.Option(metavar="N", help="Visual tokens that the picture may cost.")] = 256,
    engine: Annotated[str, typer.Option(help="embedded, chromium, or fake.")] = "embedded",
    mode: Annotated[
        Mode, typer.Option(help="Lay out for the budget (fit), or shrink a page of natural size, for comparison.")
    ] = Mode.fit,
    legibility: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Legibility curves of the reader, from `memagent bench calibrate`.")
    ] = None,
    read: Annotated[bool, typer.Option("--read", help="Also print what the packaged OCR reads of the picture.")] = False,
    as_json: Json = False,
) -> None:
    """Lay a Markdown file out for a budget of visual tokens and draw it.

    Example: memagent render page.md -o page.png --budget 256
    """
    from memagent.errors import InputError
    from memagent_renderers.budget import ESTIMATE, Budget, text_of
    from memagent_renderers.engines import make_engine
    from memagent_renderers.legibility_curve import OCR, LegibilityCurve

    reader = replace(ESTIMATE, legibility=LegibilityCurve.load(legibility) if legibility else OCR)
    limit, text, place = Budget(budget, reader), _read(file), output or file.with_suffix(".png")
    if place.suffix.lower() not in ("", ".png"):
        raise InputError(f"pictures are PNG files, not `{place.suffix}`: JPEG would blur small type. Name it {place.stem}.png")
    drawer = make_engine(_ENGINES.get(engine, engine))
    try:
        picture = _draw(text, limit, mode, drawer)
    finally:
        drawer.close()
    try:
        place.write_bytes(picture.png)
    except OSError as error:
        raise InputError(f"cannot write {place}: {error.strerror}") from error
    _warn(picture)
    seen = None
    if read:
        from memagent_renderers.ocr.rapidocr import RapidOcrReader

        seen = text_of(RapidOcrReader().read(picture))
    _report(place, limit, engine, mode, picture, seen, as_json)


def _draw(text: str, budget: Budget, mode: Mode, engine: Engine) -> Picture:
    from memagent_renderers.fixed_size import best_uniform, render_downscaled
    from memagent_renderers.picture import render

    match mode:
        case Mode.fit:
            return render(text, budget, engine=engine)
        case Mode.shrink:
            return render_downscaled(text, budget, engine=engine)
        case Mode.uniform:
            return best_uniform(text, budget, engine=engine)


def _warn(picture: Picture) -> None:
    from memagent_renderers.fonts import fallback

    if picture.dropped:
        print_status(f"{picture.dropped} blocks did not fit; a larger --budget shows more")
    if picture.missing:
        print_status(f"no font here draws {' '.join(picture.missing[:20])}")
        if advice := fallback.advice(picture.missing):
            print_status(advice)
    if picture.unreadable:
        print_status(f"drawn, but not legible to the packaged OCR: {', '.join(picture.unreadable)}")


def _report(output: Path, budget: Budget, engine: str, mode: Mode, picture: Picture, seen: str | None, as_json: bool) -> None:
    data = {
        "file": str(output),
        "engine": engine,
        "mode": mode.value,
        "width": picture.width,
        "height": picture.height,
        "tokens": picture.tokens,
        "budget": budget.tokens,
        "dropped": picture.dropped,
        "sizes": {tier: round(size, 2) for tier, size in picture.sizes.items()},
        "missing": list(picture.missing),
        "unreadable": list(picture.unreadable),
        "legibility": budget.reader.legibility.eye,
    }
    size = f"{picture.width} x {picture.height} px"
    text = f"{output}: {size}, {picture.tokens} of {budget.tokens} tokens, {picture.dropped} dropped"
    text += (
        f"\ntype in px: {', '.join(f'{tier} {value:.3g}' for tier, value in picture.sizes.items())}" if picture.sizes else ""
    )
    if seen is not None:
        data["read"] = seen
        text += f"\n\n{seen}"
    print_result(data, text, as_json)


def _read(file: Path) -> str:
    from memagent.errors import InputError

    try:
        return file.read_text("utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 at byte {error.start}; save it as UTF-8 first") from None
