"""The size policy: a small network that sees a question and the facts of its world, and decides what is kept how large.

One position for each fact and one for each hop of the question. A position knows its relation and, through a bias on attention,
which positions speak of the same entity; the names themselves it never sees, so all names are alike to it. A draft is `quota`
times the same two decisions: which of the facts that are left (Plackett-Luce over one score a fact, so drawn without
replacement), and its tier. Both heads begin at zero: the start policy picks blindly and sets everything in the neutral
proportions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from memagent.environments.long_qa.synthetic_qa import MOST_HOPS, RELATIONS, WorldQuestion
from training.experiments.memocr.page import TIERS
from training.experiments.memocr.settings import SizeSettings

_RELATIONS = {name: at + 1 for at, name in enumerate(RELATIONS)}
LINKS = 5
"""Kinds of link from one position to another: value is subject, subject is value, same subject, hop to a fact about the entity
in question, and back."""


@dataclass(frozen=True)
class Seen:
    """A batch of B questions as the network sees them; P = MOST_HOPS + F positions, hops first."""

    relations: Tensor
    """(B, P) place of the relation, 0: none."""
    links: Tensor
    """(B, P, P, LINKS) 1 where the first is linked to the second."""

    def __getitem__(self, rows: Tensor | slice) -> Seen:
        return Seen(self.relations[rows], self.links[rows])


def see(questions: Sequence[WorldQuestion]) -> Seen:
    """Questions as numbers. Their worlds must have the same number of facts."""
    rows = []
    for question in questions:
        asked = [_RELATIONS[name] for name in question.relations]
        rows.append([*asked, *[0] * (MOST_HOPS - len(asked)), *(_RELATIONS[one.relation] for one in question.facts)])
    return Seen(torch.tensor(rows), torch.stack([_links(question) for question in questions]))


def _links(question: WorldQuestion) -> Tensor:
    """(P, P, LINKS)"""
    entities = {name: at for at, name in enumerate(dict.fromkeys(e for f in question.facts for e in (f.subject, f.value)))}
    subject = torch.tensor([entities[one.subject] for one in question.facts])
    value = torch.tensor([entities[one.value] for one in question.facts])
    links = torch.zeros(MOST_HOPS + len(question.facts), MOST_HOPS + len(question.facts), LINKS)
    told = links[MOST_HOPS:, MOST_HOPS:]
    told[..., 0] = value[:, None] == subject
    told[..., 1] = subject[:, None] == value
    told[..., 2] = subject[:, None] == subject
    about = (subject == entities[question.start]).float()
    links[:MOST_HOPS, MOST_HOPS:, 3] = about
    links[MOST_HOPS:, :MOST_HOPS, 4] = about[:, None]
    return links


@dataclass(frozen=True)
class Draft:
    """Decisions of N drafts with Q lines each."""

    facts: Tensor
    """(N, Q) places of the facts, in the order in which they were picked."""
    tiers: Tensor
    """(N, Q) places in `TIERS`."""


class _Block(nn.Module):
    """Attention with a bias and a small network, both on normalised input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.net = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """(B, P, W) from (B, P, W) and (B, heads, P, P)."""
        query, key, value = (
            one.unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in self.project(self.first(x)).chunk(3, -1)
        )
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        x = x + self.mix(seen.transpose(1, 2).flatten(2))
        out: Tensor = x + self.net(self.second(x))
        return out


class SizePolicy(nn.Module):
    """Scores and tier logits for every fact of a question."""

    def __init__(self, settings: SizeSettings) -> None:
        super().__init__()
        width = settings.width
        self.quota = settings.quota
        self.relations = nn.Embedding(len(RELATIONS) + 1, width)
        self.order = nn.Embedding(MOST_HOPS + 1, width)
        self.bias = nn.Linear(LINKS, settings.heads)
        self.blocks = nn.ModuleList([_Block(width, settings.heads) for _ in range(settings.layers)])
        self.norm = nn.LayerNorm(width)
        self.pick, self.size = nn.Linear(width, 1), nn.Linear(width, len(TIERS))
        for head in (self.pick, self.size):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        self.size.bias.data = torch.tensor(settings.neutral).log()

    def states(self, seen: Seen) -> tuple[Tensor, Tensor]:
        """(B, MOST_HOPS, W) of the hops and (B, F, W) of the facts."""
        count = seen.relations.shape[1]
        x = self.relations(seen.relations) + self.order(torch.arange(count).clamp(max=MOST_HOPS))
        bias = self.bias(seen.links).permute(0, 3, 1, 2)  # (B, heads, P, P)
        for block in self.blocks:
            x = block(x, bias)
        out: Tensor = self.norm(x)
        return out[:, :MOST_HOPS], out[:, MOST_HOPS:]

    def forward(self, seen: Seen) -> tuple[Tensor, Tensor]:
        """(B, F) scores of the facts and (B, F, 4) log-probabilities of their tiers."""
        _, states = self.states(seen)
        return self.pick(states)[..., 0], self.size(states).log_softmax(-1)

    @torch.no_grad()
    def draw(self, seen: Seen, *, group: int, draw: torch.Generator, temperature: float = 1.0) -> Draft:
        """`group` drafts for each question, one question after the other."""
        scores, tiers = (one.repeat_interleave(group, 0) / temperature for one in self(seen))
        noise = -torch.empty_like(scores).exponential_(generator=draw).log()
        facts = (scores + noise).topk(self.quota, dim=-1).indices  # the Gumbel way to draw without replacement
        chosen = tiers.gather(1, facts[..., None].expand(-1, -1, len(TIERS))).log_softmax(-1).exp()
        sized = torch.multinomial(chosen.flatten(0, 1), 1, generator=draw).view_as(facts)
        return Draft(facts, sized)

    def logprobs(self, seen: Seen, draft: Draft) -> Tensor:
        """(N, 2Q) of a draft's picks and tiers, N a multiple of the B questions seen."""
        scores, tiers = self(seen)
        group = len(draft.facts) // len(scores)
        scores, tiers = scores.repeat_interleave(group, 0), tiers.repeat_interleave(group, 0)
        picked = scores.gather(1, draft.facts)  # (N, Q)
        gone = torch.zeros_like(scores, dtype=torch.bool)
        left = []
        for place in range(draft.facts.shape[1]):
            left.append(scores.masked_fill(gone, -torch.inf).logsumexp(-1))
            gone = gone.scatter(1, draft.facts[:, place : place + 1], True)
        sized = tiers.gather(1, draft.facts[..., None].expand(-1, -1, len(TIERS))).gather(2, draft.tiers[..., None])[..., 0]
        return torch.cat([picked - torch.stack(left, 1), sized], 1)
