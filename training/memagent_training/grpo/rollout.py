"""What a policy did and what it earned: a rollout is a list of token sequences with their own credit.

A rollout is one attempt at one prompt. It holds one `Segment` for each conversation that the policy took part in:
one for a plain question, several drafts and a reading for MemOCR, one growing dialogue for a sales talk. A group is
the rollouts of one visit to one prompt; groups may have any size, also one. Nothing here knows a trainer, a model
or a device, so that rollouts can be written to disk, sent between processes and scored again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from memagent.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """One token sequence: what the policy saw and what it then said. Lengths: P prompt tokens, T sampled tokens."""

    prompt_ids: Sequence[int]
    """(P,) what the policy was given; image placeholders are already expanded to one token a patch."""
    ids: Sequence[int]
    """(T,) what followed: the policy's own tokens and, in a dialogue, what others said in between."""
    mask: Sequence[int] | None = None
    """(T,) 1 = sampled by the policy and trained, 0 = said by others or forced. None: all 1."""
    logprobs: Sequence[float] | None = None
    """(T,) log-probabilities under the sampler, or None when it gave none."""
    images: Sequence[bytes] = ()
    """PNG files, in the order of their places in `prompt_ids` and `ids`."""
    role: str = "answer"
    """Who speaks: `answer`, `draft`, `verify`, `turn`, or for a reading the reward key that it is scored by."""
    weight: float = 1.0
    """Factor on this segment's advantages."""
    turn_ids: Sequence[int] | None = None
    """(T,) the rollout's agent turn (0, 1, ...) that a token belongs to, -1 = nobody's. None: all turn 0."""

    def __post_init__(self) -> None:
        for name in ("mask", "logprobs", "turn_ids"):
            value = getattr(self, name)
            if value is not None and len(value) != len(self.ids):
                raise InputError(f"`{name}` has {len(value)} entries for {len(self.ids)} tokens; give one for each token")

    @property
    def trained(self) -> int:
        """How many tokens enter the loss."""
        return len(self.ids) if self.mask is None else sum(1 for one in self.mask if one)

    @property
    def length(self) -> int:
        """P + T, what the segment costs in memory."""
        return len(self.prompt_ids) + len(self.ids)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """One attempt at one prompt: its segments, its rewards by name, and whether it counts."""

    id: str
    group_id: str
    """The visit: the rollouts that are compared with each other. A prompt drawn twice in a batch has two groups."""
    prompt_id: str
    """The prompt, stable over epochs: statistics are kept by it."""
    segments: Sequence[Segment]
    rewards: dict[str, float] = field(default_factory=dict)
    """By the objective's keys: `answer`; `std`, `augM`, `augQ`; `session`; `verify`."""
    turn_rewards: Sequence[float] = ()
    """One for each agent turn, in order; empty when turns are not rewarded."""
    answer: str | None = None
    """The final answer taken from the last response; None when there was none to be found."""
    correct: bool | None = None
    """Whether the checker accepts the answer, apart from shaped rewards; None when nothing was checked."""
    valid: bool = True
    """False when the response was malformed or cut off."""
    versions: tuple[int, int] | None = None
    """The oldest and the newest policy that sampled a token of it, as optimizer steps done; None: not told."""
    failed: str | None = None
    """What the world did to it (`engine: no connection to ...`), so that it is no data; None: it came to an end of its own."""


Group = Sequence[Rollout]
"""The rollouts of one visit to one prompt."""


def reward_of(rollout: Rollout, *, key: str | None = None) -> float:
    """The reward under `key`, or the sum of all when `key` is None.

    Raises `InputError` for a key that the rollout does not have.
    """
    if key is None:
        return float(sum(rollout.rewards.values()))
    if key not in rollout.rewards:
        raise InputError(f"rollout `{rollout.id}` has no reward `{key}`; it has: {', '.join(rollout.rewards) or 'none'}")
    return rollout.rewards[key]
