"""The study's pictures: one memory before and after training, accuracy against budget, and evidence by training step."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memagent.evaluation.report import Row
from memagent_renderers import fonts
from training.experiments.memocr.evaluate import Draft, ocr_answer
from training.experiments.memocr.page import Mode, markdown, picture

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

PAGE_TOKENS = 1024
WIDTH, MARGIN, GAP, CAPTION = 640, 24, 32, 26
"""Px: of a column, around all, between columns, of a line of text."""


def before_after(columns: Mapping[str, Draft], path: Path, *, tokens: Sequence[int], mode: Mode) -> None:
    """Write a PNG: a column for each title and page of one question, a row for each number of tokens, the page itself first."""
    from PIL import Image as Images
    from PIL import ImageDraw

    cells = [[_cell(draft, at, mode) for at in (PAGE_TOKENS, *tokens)] for draft in columns.values()]
    heights = [max(image.height for image, _ in row) for row in zip(*cells, strict=True)]
    size = (
        2 * MARGIN + len(columns) * WIDTH + (len(columns) - 1) * GAP,
        2 * MARGIN + 2 * CAPTION + sum(heights) + len(heights) * (CAPTION + GAP // 2),
    )
    sheet = Images.new("RGB", size, "#e9e6df")
    draw = ImageDraw.Draw(sheet)
    question = next(iter(columns.values())).question
    draw.text((MARGIN, MARGIN), f"{question.text}  ({question.answer})", "#222222", _font("bold", 18))
    for number, (title, shown) in enumerate(zip(columns, cells, strict=True)):
        left, top = MARGIN + number * (WIDTH + GAP), MARGIN + CAPTION
        draw.text((left, top), title, "#222222", _font("bold", 16))
        top += CAPTION
        for height, (image, caption) in zip(heights, shown, strict=True):
            draw.text((left, top), caption, "#444444", _font("regular", 14))
            sheet.paste(image, (left, top + CAPTION))
            top += height + CAPTION + GAP // 2
    sheet.save(path)


def _cell(draft: Draft, tokens: int, mode: Mode) -> tuple[Image, str]:
    """The picture, enlarged to the column's width pixel by pixel, and what the OCR's reading leads to."""
    from PIL import Image as Images

    shown, said = picture(markdown(draft.question, draft.lines), tokens, mode), ocr_answer(draft, tokens, mode)
    image = Images.open(io.BytesIO(shown.png)).convert("RGB")
    times = max(1, WIDTH // image.width)
    image = image.resize((image.width * times, image.height * times), Images.Resampling.NEAREST)
    image.thumbnail((WIDTH, 10 * WIDTH))
    verdict = "right" if said == draft.question.answer else "wrong" if said else "no answer"
    return image, f"{shown.tokens} visual tokens ({shown.width} x {shown.height} px); read by OCR: {said or '-'} ({verdict})"


def _font(face: str, size: int) -> FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.truetype(io.BytesIO(fonts.face(face).data), size)


def plot_accuracy(rows: Sequence[Row], path: Path) -> None:
    """Accuracy by OCR against the budget, a panel for each group of chain lengths, a line an arm, with 95 % intervals."""
    shown = [row for row in rows if row.metric == "accuracy"]
    lengths = list(dict.fromkeys(row.length or "" for row in shown))
    figure, panels = _panels(len(lengths))
    for panel, length in zip(panels, lengths, strict=True):
        for arm in dict.fromkeys(row.method for row in shown):
            line = [row for row in shown if (row.method, row.length) == (arm, length)]
            values = [row.value for row in line]
            below = [row.value - (row.value if row.low is None else row.low) for row in line]
            above = [(row.value if row.high is None else row.high) - row.value for row in line]
            panel.errorbar(range(len(line)), values, [below, above], marker="o", capsize=3, label=arm)
            panel.set_xticks(range(len(line)), [str(row.at) for row in line])
        panel.set(title=f"{length} (n = {max(row.n for row in shown if row.length == length)})", ylim=(-0.03, 1.03))
        panel.set(xlabel="visual tokens", ylabel="answers that are right")
    panels[0].legend(loc="lower left")
    figure.savefig(path, dpi=110)


def plot_training(logs: Mapping[str, Sequence[Mapping[str, float]]], path: Path) -> None:
    """Evidence recall and precision in H1 and the starved reward by optimizer step; `logs` are lines of metrics.jsonl."""
    titles = {
        "evidence/large": "evidence in H1 (recall)",
        "evidence/large_precision": "H1 lines that are evidence",
        "rewards/augM": "reward T_augM",
    }
    figure, panels = _panels(len(titles))
    for panel, (key, title) in zip(panels, titles.items(), strict=True):
        for name, lines in logs.items():
            points = [(line["step"], line[key]) for line in lines if key in line]
            panel.plot([step for step, _ in points], [value for _, value in points], label=name)
        panel.set(title=title, xlabel="optimizer step", ylim=(0, 1.02))
    panels[0].legend()
    figure.savefig(path, dpi=110)


def _panels(count: int) -> tuple[Any, Sequence[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.9 * count, 3.3), layout="constrained")
    return figure, figure.subplots(1, count, squeeze=False)[0]
