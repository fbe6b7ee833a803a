"""The token policy: a decoder over marks, whose words are read by a short convolution, with the grammar in its softmax.

Four kinds of token are marks: `asked` and the relations after it, `[k]` behind each fact of the prompt, `memory:` and, in the
draft, tiers and full stops. A mark's vector is a linear map of the embeddings of itself and of up to seven tokens before it,
back to the mark before: so `[k]` holds its whole fact and a full stop its whole line. Only marks take part in attention. The
prompt is read in both directions, the draft from left to right; a fact that has been written is seen in the draft and no longer
in the prompt. The mark of a fact also holds how much of the question's chain `MemoryNetwork` finds in it.

Two heads: tiers from where a line begins, facts by matching the tier's vector with those of the facts. Both start at 0, so an
untrained model draws facts evenly and tiers as `neutral` says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from training.experiments.memocr import grammar
from training.experiments.memocr.memory_network import MemoryNetwork, Prompts, read_prompts
from training.experiments.memocr.vocabulary import ASKED, END, ID, LINE, MARK_IDS, PAD, RELATION_IDS, TIER_IDS, TOKENS

MASKED = -1e9
"""Logit of a token that the grammar excludes: probability exactly 0, and finite, so that 0 times it is 0."""
WINDOW = 8
"""Tokens that a mark's vector is made of."""
NEAR = 2
"""Places up to which the relative bias tells distances apart."""
_WORD = 32
"""Width of a token's embedding."""
_FACT_PLACE, _DRAFT_PLACE = 100, 10_000
_PROMPT_MARKS = torch.zeros(len(TOKENS), dtype=torch.bool).index_fill(
    0, torch.tensor([ID[ASKED], *RELATION_IDS, *MARK_IDS]), True
)


class DraftConfig(PretrainedConfig):  # type: ignore[misc]
    """Sizes, the number of lines of a draft, and the neutral shares of tiers."""

    model_type = "memagent_draft"
    auto_map: ClassVar[dict[str, str]] = {}
    """TRL asks for it to load the reference model of a class that transformers does not ship."""

    def __init__(
        self,
        width: int = 96,
        heads: int = 4,
        layers: int = 2,
        quota: int = 12,
        neutral: tuple[float, ...] = (0.10, 0.15, 0.60, 0.15),
        **options: Any,
    ) -> None:
        self.width, self.heads, self.layers = width, heads, layers
        self.quota = quota
        self.neutral = list(neutral)
        self.vocab_size = len(TOKENS)
        marks = {"pad_token_id": ID[PAD], "eos_token_id": ID[END], "bos_token_id": None, "tie_word_embeddings": False}
        super().__init__(**{**marks, **options})


_Number = TypeVar("_Number", int, Tensor)


@dataclass
class Marks:
    """The marks of a batch of ids (B, L), M a row at most."""

    at: Tensor
    """(B, M) positions, ascending; 0 where `real` is False."""
    real: Tensor
    """(B, M)"""
    drafted: Tensor
    """(B, M) of the draft, `memory:` included."""
    fact: Tensor
    """(B, M) number of the fact whose mark in the prompt it is, -1 = none."""
    place: Tensor
    """(B, M) for the relative bias: the question's marks and the draft's lie side by side, facts far from all."""
    windows: Tensor
    """(B, M, WINDOW) ids, the mark's own last; pad from the mark before backwards."""


def find_marks(ids: Tensor, found: grammar.Places) -> Marks:
    """All marks of prompts and drafts."""
    state = found.since.clamp(min=0) % LINE
    drafted = (found.since >= 0) & (state <= 1) & (ids != ID[PAD]) & (ids != ID[END])
    is_mark = ((found.since < 0) & _PROMPT_MARKS[ids]) | drafted
    count = int(is_mark.sum(1).max())
    order = torch.where(is_mark, torch.arange(ids.shape[1]), ids.shape[1])
    at = order.sort(1).values[:, :count]
    real = at < ids.shape[1]
    at = at.masked_fill(~real, 0)
    mark = ids.gather(1, at)
    of_draft = drafted.gather(1, at) & real
    fact = mark - MARK_IDS[0]
    fact = torch.where((fact >= 0) & (fact < len(MARK_IDS)) & ~of_draft & real, fact, -1)
    since = found.since.gather(1, at)
    index = torch.arange(count).expand_as(at)
    place = torch.where(
        of_draft, draft_place(since // LINE, since % LINE), torch.where(fact >= 0, _FACT_PLACE * (1 + fact), index)
    )
    before = nn.functional.pad(at[:, :-1], (1, 0), value=-1)
    steps = at[:, :, None] - torch.arange(WINDOW - 1, -1, -1)  # (B, M, WINDOW)
    windows = ids.gather(1, steps.clamp(min=0).flatten(1)).view_as(steps)
    return Marks(at, real, of_draft, fact, place, windows.masked_fill(steps <= before[:, :, None], ID[PAD]))


def draft_place(line: _Number, state: _Number) -> _Number:
    """The place of a draft's mark; `state` 0 = where the line begins (`memory:` or a full stop), 1 = its tier."""
    return _DRAFT_PLACE + 2 * line + state


class Block(nn.Module):
    """Attention and a small network, both on normalised input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_network = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.network = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))

    def keys(self, x: Tensor) -> Tensor:
        """(2, B, H, M, D): keys and values of (B, M, W)."""
        batch, count, width = x.shape
        both = self.key_value(self.norm_attention(x)).view(batch, count, 2, self.heads, width // self.heads)
        return both.permute(2, 0, 3, 1, 4)  # type: ignore[no-any-return]

    def forward(self, x: Tensor, keys: Tensor, bias: Tensor) -> Tensor:
        """(B, M, W) from itself and `keys` (2, B, H, K, D); `bias` (B, H, M, K) is added to the scores."""
        batch, count, width = x.shape
        query = self.query(self.norm_attention(x)).view(batch, count, self.heads, -1).transpose(1, 2)
        scores = query @ keys[0].transpose(2, 3) / math.sqrt(query.shape[-1]) + bias
        mixed = (scores.softmax(-1) @ keys[1]).transpose(1, 2).reshape(batch, count, width)
        x = x + self.out(mixed)
        return x + self.network(self.norm_network(x))  # type: ignore[no-any-return]


@dataclass
class DraftOutput(ModelOutput):  # type: ignore[misc]
    """What `DraftModel` gives."""

    logits: Tensor | None = None
    """(B, L, V)"""

    @property
    def last_hidden_state(self) -> Tensor | None:
        """The logits: TRL multiplies the last states by the output layer itself, which is `Unchanged` here."""
        return self.logits


class Unchanged(nn.Module):
    """The output layer: the identity, since the grammar must have the last word on the logits."""

    bias = None

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight: Tensor
        self.register_buffer("weight", torch.eye(size), persistent=False)

    def fill(self) -> None:
        """Write the identity: loading leaves a buffer that is not saved without values."""
        self.weight.copy_(torch.eye(len(self.weight)))


class DraftModel(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """See the module. `forward` takes ids (B, L), prompts padded on the left, and gives logits (B, L, V)."""

    config_class = DraftConfig
    base_model_prefix = "draft"
    main_input_name = "input_ids"

    def __init__(self, config: DraftConfig) -> None:
        super().__init__(config)
        width = config.width
        self.words = nn.Embedding(config.vocab_size, _WORD, padding_idx=ID[PAD])
        self.gather = nn.Linear(_WORD * WINDOW, width)
        self.memory_network, self.evidence = MemoryNetwork(_WORD), nn.Linear(1, width, bias=False)
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.layers))
        self.near = nn.Parameter(torch.zeros(config.heads, 2 * NEAR + 1))
        self.norm = nn.LayerNorm(width)
        self.tier = nn.Linear(width, len(TIER_IDS))
        self.choose, self.chosen = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.unchanged = Unchanged(config.vocab_size)
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        """See `Unchanged`."""
        return self.unchanged

    def _init_weights(self, module: nn.Module) -> None:
        """PyTorch's own start values: with those of transformers (0.02 everywhere) looking up was not learnt in minutes."""
        if module is self:
            nn.init.zeros_(self.near)
        elif module is getattr(self, "tier", None):
            nn.init.zeros_(self.tier.weight)
            with torch.no_grad():
                self.tier.bias.copy_(torch.tensor(self.config.neutral).log())
        elif module is getattr(self, "choose", None):
            nn.init.zeros_(self.choose.weight)
        elif isinstance(module, Unchanged | MemoryNetwork):
            module.fill()
        elif isinstance(module, nn.Linear | nn.Embedding | nn.LayerNorm):
            module.reset_parameters()

    # -- parts, which the engine uses one by one ------------------------------------------------------------------------

    def embed(self, windows: Tensor) -> Tensor:
        """(B, M, W) of the marks' windows (B, M, WINDOW)."""
        return self.gather(self.words(windows).flatten(2))  # type: ignore[no-any-return]

    def start(self, prompts: Prompts, marks: Marks) -> Tensor:
        """(B, M, W): the marks before the first block, those of facts with what the lookups say of them."""
        evidence = self.memory_network.evidence(prompts, self.words)  # (B, F)
        of_marks = evidence.gather(1, marks.fact.clamp(min=0)).masked_fill(marks.fact < 0, 0.0)
        known: Tensor = self.evidence(of_marks[..., None])
        return self.embed(marks.windows) + known

    def bias(self, query_place: Tensor, key_place: Tensor, visible: Tensor) -> Tensor:
        """(B, H, M, K) to add to scores: learnt by distance, and `MASKED` where not `visible` (B, M, K)."""
        distance = (key_place[:, None, :] - query_place[:, :, None]).clamp(-NEAR, NEAR) + NEAR
        return self.near[:, distance].transpose(0, 1).masked_fill(~visible[:, None], MASKED)

    def stack(self) -> list[Block]:
        """The blocks."""
        return [block for block in self.blocks if isinstance(block, Block)]

    def tier_logits(self, state: Tensor) -> Tensor:
        """(..., 4) from the state of a line's beginning."""
        return self.tier(self.norm(state))  # type: ignore[no-any-return]

    def fact_logits(self, state: Tensor, facts: Tensor) -> Tensor:
        """(B, M, F) from the states (B, M, W) of tiers and those of facts (B, F, W)."""
        match = self.choose(self.norm(state)) @ self.chosen(self.norm(facts)).transpose(1, 2)
        return match / math.sqrt(self.config.width)  # type: ignore[no-any-return]

    def trunk(self, ids: Tensor, found: grammar.Places, marks: Marks) -> Tensor:
        """(B, M, W): the states of all marks."""
        bias = self.bias(marks.place, marks.place, visible(ids, found, marks))
        x = self.start(read_prompts(ids, found), marks)
        for block in self.stack():
            x = block(x, block.keys(x), bias)
        return x

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, logits_to_keep: int = 0, **_: object
    ) -> DraftOutput:
        """Logits of the last `logits_to_keep` positions (0: all). Padding is known by its id, not by `attention_mask`."""
        found = grammar.places(input_ids)
        marks = find_marks(input_ids, found)
        states = self.trunk(input_ids, found, marks)
        logits = states.new_zeros(*input_ids.shape, self.config.vocab_size)
        row, mark = (marks.drafted).nonzero(as_tuple=True)
        at, state = marks.at[row, mark], states[row, mark]
        tier_next = found.since[row, at] % LINE == 0
        logits[row[tier_next, None], at[tier_next, None], torch.tensor(TIER_IDS)] = self.tier_logits(state[tier_next])
        facts = fact_states(states, marks)
        row, at, state = row[~tier_next], at[~tier_next], state[~tier_next]
        matches = self.fact_logits(state[:, None], facts[row])[:, 0]
        logits[row[:, None], at[:, None], torch.tensor(MARK_IDS)] = matches
        logits = logits.masked_fill(~grammar.allowed(input_ids, quota=self.config.quota), MASKED)
        return DraftOutput(logits=logits[:, -logits_to_keep:])


def fact_states(states: Tensor, marks: Marks) -> Tensor:
    """(B, F, W): the states of the facts' marks by the facts' numbers; 0 for facts that a world does not have."""
    batch, _, width = states.shape
    facts = states.new_zeros(batch, len(MARK_IDS), width)
    row, mark = (marks.fact >= 0).nonzero(as_tuple=True)
    return facts.index_put((row, marks.fact[row, mark]), states[row, mark])


def visible(ids: Tensor, found: grammar.Places, marks: Marks) -> Tensor:
    """(B, M, M): whether a mark (row) attends to another (column)."""
    earlier = marks.at[:, None, :] <= marks.at[:, :, None]
    seen = torch.where(marks.drafted[:, None, :], earlier & marks.drafted[:, :, None], True)
    done = grammar.written(ids, found)  # (B, L, F)
    done = done.gather(1, marks.at[:, :, None].expand(-1, -1, done.shape[2]))  # (B, M, F)
    done = done.gather(2, marks.fact.clamp(min=0)[:, None, :].expand(-1, marks.at.shape[1], -1))  # (B, M, M)
    return seen & marks.real[:, None, :] & ~(done & (marks.fact >= 0)[:, None, :])


AutoConfig.register(DraftConfig.model_type, DraftConfig)
AutoModelForCausalLM.register(DraftConfig, DraftModel)
