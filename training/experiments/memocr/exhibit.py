"""One memory before and after training, as a picture: the page, and what is left of it at a few visual tokens."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from memagent_renderers import fonts
from memagent_renderers.budget import Picture
from training.experiments.memocr.judge import answer_by_ocr
from training.experiments.memocr.page import Mode, markdown, picture
from training.experiments.memocr.study import Drafted

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

PAGE_TOKENS = 1024
MARGIN, GAP, CAPTION = 24, 32, 26
"""Px."""
WIDTH = 640
"""Px of a column."""


@dataclass(frozen=True)
class Column:
    """A page to be shown under a title."""

    title: str
    page: Drafted


def exhibit(columns: Sequence[Column], path: Path, *, tokens: Sequence[int], mode: Mode) -> None:
    """Write a PNG: a column for each page of the same question, a row for each number of tokens, the first one as drawn."""
    from PIL import Image as Images
    from PIL import ImageDraw

    cells = [[_cell(one.page, at, mode) for at in (PAGE_TOKENS, *tokens)] for one in columns]
    heights = [max(column[row][0].height for column in cells) for row in range(1 + len(tokens))]
    size = (
        2 * MARGIN + len(columns) * WIDTH + (len(columns) - 1) * GAP,
        2 * MARGIN + 2 * CAPTION + sum(heights) + len(heights) * (CAPTION + GAP // 2),
    )
    sheet = Images.new("RGB", size, "#e9e6df")
    draw = ImageDraw.Draw(sheet)
    question = columns[0].page.question
    draw.text((MARGIN, MARGIN), f"{question.text}  ({question.answer})", "#222222", _font("bold", 18))
    for number, (column, shown) in enumerate(zip(columns, cells, strict=True)):
        left, top = MARGIN + number * (WIDTH + GAP), MARGIN + CAPTION
        draw.text((left, top), column.title, "#222222", _font("bold", 16))
        top += CAPTION
        for height, (image, caption) in zip(heights, shown, strict=True):
            draw.text((left, top), caption, "#444444", _font("regular", 14))
            sheet.paste(image, (left, top + CAPTION))
            top += height + CAPTION + GAP // 2
    sheet.save(path)


def _cell(page: Drafted, tokens: int, mode: Mode) -> tuple[Image, str]:
    """The picture, enlarged to the column's width pixel by pixel, and what the real OCR's reading leads to."""
    from PIL import Image as Images

    text = markdown(page.question, page.lines)
    shown: Picture = picture(text, tokens, mode)
    said, paid = answer_by_ocr(page.question, text, tokens, mode)
    image = Images.open(io.BytesIO(shown.png)).convert("RGB")
    times = max(1, WIDTH // image.width)
    image = image.resize((image.width * times, image.height * times), Images.Resampling.NEAREST)
    image.thumbnail((WIDTH, 10 * WIDTH))
    verdict = "right" if said == page.question.answer else "wrong" if said else "no answer"
    return image, f"{paid} visual tokens ({shown.width} x {shown.height} px); read by OCR: {said or '-'} ({verdict})"


def _font(face: str, size: int) -> FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.truetype(io.BytesIO(fonts.face(face).data), size)
