"""Rollouts as lines of JSON, written by one run and trained on again by another.

The first line says what made them (`RunLine`). For each generation batch follow a line with the prompts that were drawn
(`BatchLine`), and one for each rollout that was trained on (`RolloutLine`): with tokens, log-probabilities and pictures, it is
all that training needs. Whoever wrote the file is not trusted: every line is checked against these types, and nothing of it
is run.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from memagent.errors import ConfigError, EngineError, InputError
from memagent_training.grpo.rollout import Group, Rollout, Segment

FORMAT = 1
MOST_BYTES = 256_000_000
"""Of a line."""
_PNG = b"\x89PNG\r\n\x1a\n"

Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RunLine(_Checked):
    """The first line."""

    step: Literal[0]
    """So that a resumed run keeps it."""
    format: int
    made_by: dict[str, Any]
    """The settings of the recipe that decide what is rolled out and how it is scored, by place; empty: not known."""


class BatchLine(_Checked):
    """The line before a batch."""

    step: Count
    """The first optimizer step that used the batch."""
    batch: Count
    drawn: list[str]
    """Ids of the prompts that were drawn, in order."""
    rollouts: Count
    """Lines that follow."""


class SegmentLine(_Checked):
    """A `Segment`; a log-probability that is no number is null."""

    prompt_ids: list[Count] = Field(min_length=1)
    ids: list[Count]
    mask: list[Literal[0, 1]] | None = None
    logprobs: list[Finite | None] | None = None
    turn_ids: list[Annotated[int, Field(ge=-1)]] | None = None
    role: str
    weight: Finite
    images: list[Count] = []
    """Places in the rollout's `images`."""


class RolloutLine(_Checked):
    """A `Rollout`."""

    step: Count
    batch: Count
    prompt_id: str
    group_id: str
    id: str
    rewards: dict[str, Finite]
    turn_rewards: list[Finite]
    correct: bool | None
    valid: bool
    answer: str | None
    tokens: Count
    """In the loss."""
    versions: tuple[Count, Count] | None
    segments: list[SegmentLine]
    images: list[str]
    """Different PNG files, base64."""

    @model_validator(mode="after")
    def _pictures_are_there(self) -> RolloutLine:
        if any(place >= len(self.images) for one in self.segments for place in one.images):
            raise ValueError("a segment shows a picture that is not in `images`")
        return self

    def rollout(self) -> Rollout:
        """As it was. Raises `ValueError` for what is no picture, `InputError` for lists of unequal length."""
        images = [base64.b64decode(one, validate=True) for one in self.images]
        if any(not one.startswith(_PNG) for one in images):
            raise ValueError("a picture is no PNG file")
        segments = []
        for one in self.segments:
            scores = None if one.logprobs is None else [math.nan if score is None else score for score in one.logprobs]
            segments.append(
                Segment(
                    prompt_ids=tuple(one.prompt_ids),
                    ids=tuple(one.ids),
                    mask=None if one.mask is None else tuple(one.mask),
                    logprobs=None if scores is None else tuple(scores),
                    images=tuple(images[place] for place in one.images),
                    role=one.role,
                    weight=one.weight,
                    turn_ids=None if one.turn_ids is None else tuple(one.turn_ids),
                )
            )
        return Rollout(
            id=self.id,
            group_id=self.group_id,
            prompt_id=self.prompt_id,
            segments=segments,
            rewards=self.rewards,
            turn_rewards=tuple(self.turn_rewards),
            answer=self.answer,
            correct=self.correct,
            valid=self.valid,
            versions=self.versions,
        )


# -- writing --------------------------------------------------------------------------------------------------------------


def first_line(made_by: Mapping[str, Any]) -> str:
    """What made the rollouts of a file."""
    return _line({"step": 0, "format": FORMAT, "made_by": dict(made_by)})


def batch_lines(rollouts: Sequence[Rollout], *, step: int, batch: int, drawn: Sequence[str]) -> str:
    """A batch, also one of no rollouts."""
    lines = [_line({"step": step, "batch": batch, "drawn": list(drawn), "rollouts": len(rollouts)})]
    return "".join(lines + [_line({"step": step, "batch": batch, **_plain(one)}) for one in rollouts])


def _plain(rollout: Rollout) -> dict[str, Any]:
    images = list(dict.fromkeys(png for segment in rollout.segments for png in segment.images))
    segments = []
    for one in rollout.segments:
        scores = one.logprobs
        segments.append(
            {
                "prompt_ids": list(one.prompt_ids),
                "ids": list(one.ids),
                "mask": None if one.mask is None else list(one.mask),
                "logprobs": None if scores is None else [score if math.isfinite(score) else None for score in scores],
                "turn_ids": None if one.turn_ids is None else list(one.turn_ids),
                "role": one.role,
                "weight": one.weight,
                "images": [images.index(png) for png in one.images],
            }
        )
    return {
        "prompt_id": rollout.prompt_id,
        "group_id": rollout.group_id,
        "id": rollout.id,
        "rewards": rollout.rewards,
        "turn_rewards": list(rollout.turn_rewards),
        "correct": rollout.correct,
        "valid": rollout.valid,
        "answer": rollout.answer,
        "tokens": sum(segment.trained for segment in rollout.segments),
        "versions": rollout.versions,
        "segments": segments,
        "images": [base64.b64encode(png).decode("ascii") for png in images],
    }


def _line(plain: Mapping[str, Any]) -> str:
    return _encodable(json.dumps(plain, ensure_ascii=False)) + "\n"


def _encodable(text: str) -> str:
    """With "?" for half of a surrogate pair, which UTF-8 and JSON have no place for."""
    return text.encode("utf-8", "replace").decode("utf-8")


# -- reading --------------------------------------------------------------------------------------------------------------

T = TypeVar("T", bound=_Checked)


class RolloutFile:
    """A file of rollouts, read batch by batch from front to back. Raises `ConfigError` for one that is not there or is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._number = 0
        """Lines read."""
        try:
            with path.open("rb") as self._file:
                made = self._next(RunLine)
                self._offset = self._file.tell()
        except OSError as error:
            raise ConfigError(
                f"engine.log: `{path}` cannot be read ({error.strerror}); a run writes it with --log-rollouts"
            ) from None
        except EngineError as error:
            raise ConfigError(f"engine.log: {error}; it begins with what made it, as --log-rollouts writes it") from None
        if made is None or made.format != FORMAT:
            what = "is empty" if made is None else f"has format {made.format}, and this program reads {FORMAT}"
            raise ConfigError(f"engine.log: `{path}` {what}")
        self.made_by = made.made_by

    def batch(self, number: int, *, drawn: Sequence[str]) -> list[Group]:
        """The groups of generation batch `number`, of which none before it was read already.

        Raises `EngineError` where the batch is missing or damaged, or of other prompts than `drawn`.
        """
        with self.path.open("rb") as self._file:
            self._file.seek(self._offset)
            groups = self._groups(number, drawn=[_encodable(one) for one in drawn])
            self._offset = self._file.tell()
        return groups

    def _groups(self, number: int, *, drawn: Sequence[str]) -> list[Group]:
        while (found := self._next(BatchLine)) is not None and found.batch < number:
            for _ in range(found.rollouts):
                self._read()
        if found is None or found.batch != number:
            has = "ends before it" if found is None else f"goes on with batch {found.batch}"
            raise EngineError(f"`{self.path}` has no generation batch {number}, it {has}: lower optimizer.steps")
        if found.drawn != drawn:
            place = next((at for at, pair in enumerate(zip(found.drawn, drawn, strict=False)) if pair[0] != pair[1]), 0)
            raise EngineError(
                f"{self._here()}: batch {number} is of other prompts: number {place} of {len(found.drawn)} is "
                f"{found.drawn[place : place + 1]} there and {drawn[place : place + 1]} of {len(drawn)} here; "
                "replay with the task, seed and sizes that made the log"
            )
        rollouts = [self._rollout(number) for _ in range(found.rollouts)]
        groups = [list(group) for _, group in groupby(rollouts, key=lambda one: one.group_id)]
        names = [group[0].group_id for group in groups]
        one_prompt = all(len({one.prompt_id for one in group}) == 1 for group in groups)
        if len(set(names)) != len(names) or len({one.id for one in rollouts}) != len(rollouts) or not one_prompt:
            raise EngineError(
                f"{self._here()}: the rollouts of batch {number} are no groups: an id comes twice or is elsewhere"
            )
        return list(groups)

    def _rollout(self, batch: int) -> Rollout:
        line = self._next(RolloutLine)
        if line is None or line.batch != batch:
            raise EngineError(f"{self._here()}: batch {batch} is cut off")
        try:
            return line.rollout()
        except (ValueError, InputError) as error:
            raise EngineError(f"{self._here()} is damaged: {error}") from None

    def _next(self, kind: type[T]) -> T | None:
        data = self._read()
        if not data:
            return None
        try:
            return kind.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise EngineError(
                f"{self._here()} is no line of that kind: {f'{place}: ' if place else ''}{first['msg']}"
            ) from None

    def _read(self) -> bytes:
        self._number += 1
        data = self._file.readline(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise EngineError(f"{self._here()} is longer than {MOST_BYTES:,} bytes")
        if data and not data.endswith(b"\n"):
            raise EngineError(f"{self._here()} is cut off")
        return data

    def _here(self) -> str:
        return f"`{self.path}`, line {self._number}"
