"""Sampling drafts: line by line, many at once, each mark through the network once.

The engine takes the two free decisions of a line from the model's heads and writes the forced words itself; what it returns
is the whole token sequence, so that the trainer, which runs `DraftModel.forward` over it, finds the same probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from memagent_training.engines.base import Completion, PolicyHost, Prompt
from training.experiments.memocr import grammar
from training.experiments.memocr.memory_network import read_prompts
from training.experiments.memocr.model import MASKED, WINDOW, DraftModel, draft_place, fact_states, find_marks
from training.experiments.memocr.vocabulary import DRAFT, END, ID, MARK_IDS, PAD, STOP, TIER_IDS


@dataclass
class _Reading:
    """What the network has read of B rows: their prompts, and the marks of their drafts so far."""

    keys: list[Tensor]
    """For each block, (2, B, H, K, D); K has room for the whole draft."""
    real: Tensor
    """(B, K) which of the marks are there."""
    place: Tensor
    """(B, K)"""
    fact: Tensor
    """(B, K) number of the fact of a mark of the prompt, -1 = none."""
    states: Tensor
    """(B, F, W) of the facts."""
    told: Tensor
    """(B, F)"""
    words: Tensor
    """(B, F, WORDS) ids."""
    count: int
    """Marks read so far; the next is written there."""

    def rows(self, chosen: Tensor) -> _Reading:
        """The readings of these rows, each its own."""
        kept = {name: getattr(self, name)[chosen] for name in ("real", "place", "fact", "states", "told", "words")}
        return _Reading(keys=[keys[:, chosen] for keys in self.keys], count=self.count, **kept)


@torch.no_grad()
def sample_drafts(model: DraftModel, prompts: Sequence[Sequence[int]], *, seed: int) -> list[Completion]:
    """One draft for each prompt (ids that end with `memory:`), with log-probabilities. Equal prompts are read once."""
    known = {tuple(ids): number for number, ids in enumerate(dict.fromkeys(map(tuple, prompts)))}
    read = _read(model, list(known))
    read = read.rows(torch.tensor([known[tuple(ids)] for ids in prompts]))
    draw = torch.Generator().manual_seed(seed)
    ids, logprobs = _write(model, read, draw)
    return [
        Completion(ids=tuple(row), logprobs=tuple(scores)) for row, scores in zip(ids.tolist(), logprobs.tolist(), strict=True)
    ]


def _read(model: DraftModel, prompts: Sequence[Sequence[int]]) -> _Reading:
    """The prompts, without their last token, through the network."""
    width = max(map(len, prompts))
    ids = torch.tensor([[ID[PAD]] * (width - len(one)) + list(one) for one in prompts])[:, :-1]
    found = grammar.places(ids)
    marks = find_marks(ids, found)
    bias = model.bias(marks.place, marks.place, marks.real[:, None].expand(-1, marks.real.shape[1], -1))
    parts = read_prompts(ids, found)
    x = model.start(parts, marks)
    room = 2 * model.config.quota + 1
    kept = []
    for block in model.stack():
        keys = block.keys(x)
        x = block(x, keys, bias)
        kept.append(torch.nn.functional.pad(keys, (0, 0, 0, room)))
    real, place = (torch.nn.functional.pad(one, (0, room)) for one in (marks.real, marks.place))
    fact = torch.nn.functional.pad(marks.fact, (0, room), value=-1)
    return _Reading(kept, real, place, fact, fact_states(x, marks), parts.told, parts.words, marks.at.shape[1])


def _write(model: DraftModel, read: _Reading, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Ids and log-probabilities (B, T) of drafts."""
    rows = torch.arange(len(read.real))
    free = read.told.clone()  # (B, F) not written yet
    state = _step(model, read, _alone(torch.full_like(rows, ID[DRAFT])), draft_place(0, 0), free)
    ids, scores = [], []
    for line in range(model.config.quota):
        tier, tier_score = _draw(model.tier_logits(state), draw)
        tier = torch.tensor(TIER_IDS)[tier]
        state = _step(model, read, _alone(tier), draft_place(line, 1), free)
        logits = model.fact_logits(state[:, None], read.states)[:, 0].masked_fill(~free, MASKED)
        fact, fact_score = _draw(logits, draw)
        free[rows, fact] = False
        stop = torch.full_like(rows, ID[STOP])[:, None]
        said = torch.cat([read.words[rows, fact], stop], dim=1)  # (B, WORDS + 1)
        ids += [tier[:, None], torch.tensor(MARK_IDS)[fact][:, None], said]
        scores += [tier_score[:, None], fact_score[:, None], torch.zeros(said.shape)]
        if line + 1 < model.config.quota:
            state = _step(model, read, said[:, -WINDOW:], draft_place(line + 1, 0), free)
    ids.append(torch.full_like(rows, ID[END])[:, None])
    scores.append(torch.zeros(len(rows), 1))
    return torch.cat(ids, dim=1), torch.cat(scores, dim=1)


def _alone(token: Tensor) -> Tensor:
    """(B, WINDOW): the windows of marks (B,) that stand right behind another mark."""
    return torch.nn.functional.pad(token[:, None], (WINDOW - 1, 0), value=ID[PAD])


def _draw(logits: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """One of each row (B, N), and its log-probability."""
    scores = logits.log_softmax(-1)
    picked = torch.multinomial(scores.exp(), 1, generator=draw)
    return picked[:, 0], scores.gather(1, picked)[:, 0]


def _step(model: DraftModel, read: _Reading, window: Tensor, place: int, free: Tensor) -> Tensor:
    """(B, W): the state of the next mark of every draft."""
    at = read.count
    read.count += 1
    read.real[:, at], read.place[:, at] = True, place
    written = ~free.gather(1, read.fact.clamp(min=0)) & (read.fact >= 0)
    seen = (read.real & ~written)[:, None, : at + 1]
    bias = model.bias(read.place[:, at : at + 1], read.place[:, : at + 1], seen)
    x = model.embed(window[:, None])
    for keys, block in zip(read.keys, model.stack(), strict=True):
        keys[:, :, :, at : at + 1] = block.keys(x)
        x = block(x, keys[:, :, :, : at + 1], bias)
    return x[:, 0]


@dataclass(kw_only=True)
class DraftEngine:
    """`sample_drafts` for `MemGRPOTrainer`."""

    name: ClassVar[str] = "drafts"
    _host: PolicyHost = field(init=False, repr=False, compare=False)

    def start(self, host: PolicyHost) -> None:
        """Keep hold of the policy."""
        self._host = host

    def batch(self, version: int) -> AbstractContextManager[None]:
        """Nothing to set up: the policy itself samples."""
        return nullcontext()

    def generate(self, prompts: Sequence[Prompt], *, seed: int) -> list[Completion]:
        """One draft for each prompt."""
        if not prompts:
            return []
        model: Any = self._host.accelerator.unwrap_model(self._host.model)
        return sample_drafts(model, [prompt.ids for prompt in prompts], seed=seed)
