"""The supervised stage: the network learns to find the chain, while its tier and pointer heads stay as they are.

The memory network learns which fact answers which hop. Two more questions are put to the states of the network by heads that
are thrown away afterwards: is this fact on the chain (each fact), and is evidence still to be written (each point of an even
draft where a decision is due). The policy that comes out finds the evidence and does not use it yet.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from memagent.environments.long_qa.synthetic_qa import MOST_HOPS, WorldQuestion, world_questions
from training.experiments.memocr import grammar
from training.experiments.memocr.memory_network import read_prompts
from training.experiments.memocr.model import DraftConfig, DraftModel, fact_states, find_marks
from training.experiments.memocr.page import TIERS, Line
from training.experiments.memocr.settings import StudySettings
from training.experiments.memocr.vocabulary import ID, MARK_IDS, PAD, line_words, prompt_words, token_ids

_NONE = -100
"""A target that is not looked at."""


@dataclass(frozen=True)
class Examples:
    """A batch of worlds."""

    ids: Tensor
    """(B, L) prompts and, where asked for, even drafts."""
    chain: Tensor
    """(B, F) 1 = on the chain."""
    hops: Tensor
    """(B, MOST_HOPS) the fact of each hop, `_NONE` beyond the chain."""


class Probes(nn.Module):
    """The heads that are thrown away."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.on_chain, self.left = nn.Linear(width, 1), nn.Linear(width, 1)


def fresh_model(settings: StudySettings, *, seed: int) -> DraftModel:
    """A network of random weights."""
    net = settings.net
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DraftModel(
            DraftConfig(
                width=net.width,
                heads=net.heads,
                layers=net.layers,
                quota=settings.draft.quota,
                neutral=settings.neutral,
            )
        )


def examples(questions: Sequence[WorldQuestion], draw: random.Random, *, quota: int = 0) -> Examples:
    """The questions with their facts in a new order; with `quota`, followed by an even draft of so many lines."""
    rows, chain, hops = [], torch.zeros(len(questions), len(MARK_IDS)), torch.full((len(questions), MOST_HOPS), _NONE)
    for number, question in enumerate(questions):
        order = draw.sample(range(len(question.facts)), len(question.facts))
        places = [order.index(fact) for fact in question.chain]
        told = WorldQuestion(
            question.id,
            question.text,
            question.answer,
            question.relations,
            tuple(question.facts[at] for at in order),
            tuple(places),
        )
        lines = [Line(draw.choice(TIERS), fact) for fact in draw.sample(range(len(order)), quota)]
        rows.append(token_ids([*prompt_words(told), *(word for line in lines for word in line_words(line, told))]))
        chain[number, places] = 1.0
        hops[number, : len(places)] = torch.tensor(places)
    width = max(map(len, rows))
    return Examples(torch.tensor([[ID[PAD]] * (width - len(row)) + row for row in rows]), chain, hops)


def losses(model: DraftModel, probes: Probes, batch: Examples) -> tuple[Tensor, Tensor]:
    """The loss, and (B,) whether exactly the chain's facts were found."""
    found = grammar.places(batch.ids)
    marks = find_marks(batch.ids, found)
    states = model.norm(model.trunk(batch.ids, found, marks))
    facts = fact_states(states, marks)
    on_chain = probes.on_chain(facts)[..., 0]  # (B, F)
    told = found.told.float()
    loss = 5 * functional.binary_cross_entropy_with_logits(on_chain, batch.chain, weight=told, reduction="sum") / told.sum()
    answers = model.memory_network(read_prompts(batch.ids, found), model.words)  # (B, MOST_HOPS, F)
    loss = loss + functional.nll_loss(answers.flatten(0, 1), batch.hops.flatten(), ignore_index=_NONE)
    if bool((found.since > 0).any()):
        left = (~grammar.written(batch.ids, found) & (batch.chain > 0)[:, None]).any(2)  # (B, L)
        left = left.gather(1, marks.at)[marks.drafted].float()
        loss = loss + functional.binary_cross_entropy_with_logits(probes.left(states[marks.drafted])[:, 0], left)
    exact = (((on_chain > 0) == (batch.chain > 0)) | ~found.told).all(1)
    return loss, exact


def sft(settings: StudySettings, *, seed: int) -> tuple[DraftModel, dict[str, float]]:
    """Train a fresh model; also the share of chains found exactly in `dev` worlds, by number of hops."""
    stage = settings.sft
    model, draw = fresh_model(settings, seed=seed), random.Random(f"warm-up:{seed}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        probes = Probes(settings.net.width)
    pool = world_questions(stage.pool, split="train", seed=1000 + seed, settings=settings.worlds())
    weights = [*model.parameters(), *probes.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=stage.learning_rate, weight_decay=0.01)
    drafting = round(stage.batches * (1 - stage.drafts))
    for number in range(stage.batches):
        rate = min(1.0, (number + 1) / 50) * max(0.05, 1 - number / stage.batches)
        for group in optimizer.param_groups:
            group["lr"] = stage.learning_rate * rate
        quota = settings.draft.quota if number >= drafting else 0
        loss, _ = losses(model, probes, examples(draw.sample(pool, stage.batch), draw, quota=quota))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
    return model.eval(), found_shares(model, probes, settings, seed=seed)


@torch.no_grad()
def found_shares(
    model: DraftModel, probes: Probes, settings: StudySettings, *, seed: int, questions: int = 300
) -> dict[str, float]:
    """The share of `dev` questions whose chain is found exactly, by number of hops."""
    shares = {}
    for hops in range(1, MOST_HOPS + 1):
        asked = world_questions(questions, split="dev", seed=seed, settings=settings.worlds((hops,)))
        shares[f"{hops} hops"] = losses(model, probes, examples(asked, random.Random(seed)))[1].float().mean().item()
    return shares
