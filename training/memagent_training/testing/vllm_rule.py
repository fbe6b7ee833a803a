"""What vLLM makes of a token prompt with pictures, and a sampler whose text depends on all that was read.

The rule is the same in vLLM 0.22, 0.31 and 0.33 (`PromptReplacement` in `vllm/multimodal/processing`): pictures are taken in
order; each finds the first image token at or behind the end of the match before it, and that one token becomes as many as the
picture costs at the size that the server brings it to. Nothing asks whether the prompt was expanded before, and image tokens
that are left over stay, each read as a mere text token. So a prompt that is sent expanded, with its pictures, is read wrong.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

MAX_ASPECT = 200
"""Longer side over shorter side that image processors of the Qwen-VL family still take."""


def expand(ids: Sequence[int], lengths: Sequence[int], *, image_id: int) -> tuple[list[int], list[tuple[int, int]]]:
    """The prompt as the model reads it, and (offset, length) of each picture in it, for pictures of `lengths` tokens.

    Raises `ValueError` for a prompt with fewer image tokens than pictures.
    """
    read: list[int] = []
    places: list[tuple[int, int]] = []
    start = 0
    for number, length in enumerate(lengths):
        try:
            at = list(ids).index(image_id, start)
        except ValueError:
            raise ValueError(
                f"expected {len(lengths)} placeholders for pictures and found {number} in a prompt of {len(ids)} tokens"
            ) from None
        read += ids[start:at]
        places.append((len(read), length))
        read += [image_id] * length
        start = at + 1
    return [*read, *ids[start:]], places


@dataclass(frozen=True, kw_only=True)
class Eye:
    """The image processor of a server: which token stands for a picture, and what size a picture is brought to."""

    image_id: int
    cell: int = 28
    """Side in px of what one visual token shows: patch size times merge size."""
    min_pixels: int = 3136
    max_pixels: int = 12_845_056
    """Pictures are brought into these limits of width x height: `shortest_edge` and `longest_edge` of the processor's size."""

    def tokens(self, width: int, height: int) -> int:
        """What a picture costs: t h w / merge^2 after the resize that Qwen-VL's processors publish.

        Raises `ValueError` for a picture longer than 200 : 1.
        """
        if max(width, height) > MAX_ASPECT * min(width, height):
            raise ValueError(f"absolute aspect ratio must be smaller than {MAX_ASPECT}, got {width} x {height}")
        sides = [max(self.cell, round(side / self.cell) * self.cell) for side in (width, height)]
        area = sides[0] * sides[1]
        if area > self.max_pixels:
            scale = math.sqrt(width * height / self.max_pixels)
            sides = [max(self.cell, math.floor(side / scale / self.cell) * self.cell) for side in (width, height)]
        elif area < self.min_pixels:
            scale = math.sqrt(self.min_pixels / (width * height))
            sides = [math.ceil(side * scale / self.cell) * self.cell for side in (width, height)]
        return sides[0] * sides[1] // self.cell**2


@dataclass(frozen=True)
class PromptPicture:
    """A picture as a model sees it: its size and its pixels, however it was sent."""

    width: int
    height: int
    digest: bytes

    @classmethod
    def of(cls, image: object) -> PromptPicture:
        """From a PIL image of any mode."""
        from PIL import Image

        assert isinstance(image, Image.Image)
        return cls(*image.size, hashlib.blake2b(image.convert("RGB").tobytes(), digest_size=16).digest())


@dataclass(frozen=True)
class Sampled:
    """What was said to one prompt."""

    ids: list[int]
    logprobs: list[float]
    finished: bool
    """Whether it ended by itself; the end token is then the last of `ids`."""


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Says tokens of `vocabulary`, and at each place with a chance of one in `ends` the end token."""

    vocabulary: Sequence[int] = tuple(range(10))
    end_id: int = 0
    ends: int = 8

    def __call__(
        self,
        prompt: Sequence[int],
        pictures: Sequence[PromptPicture] = (),
        *,
        seed: object,
        weights: object,
        max_tokens: int,
        temperature: float = 1.0,
        raw: bool = False,
    ) -> Sampled:
        """Up to `max_tokens` tokens. A log-probability is that of temperature 1 divided by `temperature`, unless `raw`."""
        told = repr((list(prompt), [one.digest for one in pictures], seed, weights)).encode()
        ids: list[int] = []
        logprobs: list[float] = []
        while len(ids) < max_tokens and not (ids and ids[-1] == self.end_id):
            chance = hashlib.blake2b(told + len(ids).to_bytes(4, "big"), digest_size=8).digest()
            ended = chance[0] % self.ends == 0
            ids.append(self.end_id if ended else self.vocabulary[int.from_bytes(chance[1:5], "big") % len(self.vocabulary)])
            logprobs.append(-(1 + chance[5]) / 128 / (1.0 if raw else temperature))
        return Sampled(ids, logprobs, bool(ids) and ids[-1] == self.end_id)
