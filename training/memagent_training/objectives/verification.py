"""Self-verification without a trainer: which answers are judged, what a verdict earns (arXiv 2602.07594).

One model answers questions and judges its own answers; labels come from the rule-based checker. Items are picked from groups of
responses so that both labels are equally frequent (balance), a question gives at most two of a label before any is repeated
(diversity), and neither malformed answers nor questions that nobody solved are asked about (filtering). This module depends on
nothing else of `memagent_training.objectives` but `boxed`, so that `memagent_training.grpo` can export it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from memagent.errors import InputError
from memagent_training.objectives.boxed import INSTRUCTION, boxed_answer, without_instruction

Label = Literal["Yes", "No"]
LABELS: tuple[Label, Label] = ("Yes", "No")
RIGHT = 0.5
"""A reward of at least this is a right answer."""
MAX_FACTOR = 0.5
"""The pass rate scales the reward of a verdict up to here."""


@dataclass(frozen=True, kw_only=True)
class Response:
    """One response of a group, as far as verification needs it."""

    question: str = ""
    answer: str | None = ""
    """The extracted, normalised final answer; None when there was none."""
    reward: float
    """Of the checker; `RIGHT` or more is right."""
    valid: bool = True
    """Whether a final answer was found."""
    index: int | None = None
    """Place in the batch; None: the builder counts through all groups."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.reward):
            raise InputError(
                f"a response has reward {self.reward}; give a finite one, with `valid=False` for a malformed response"
            )

    @property
    def usable(self) -> bool:
        """Whether there is an answer to judge."""
        return self.valid and self.answer is not None

    @property
    def right(self) -> bool:
        """Whether the checker accepted it."""
        return self.reward >= RIGHT


Record = Response | Mapping[str, object] | SupportsFloat | None
"""A response, also as a mapping with `reward` or `correct` and perhaps `question` (""), `answer` (""), `valid` (True), `index`
(counted), or as a bare reward, None for a malformed one."""
Groups = Sequence[Sequence[Record]] | NDArray[np.generic]
"""The responses of each question, in groups of any size; an array (questions, n) holds bare rewards."""


@dataclass(frozen=True, kw_only=True)
class Pick:
    """A response whose answer is to be judged."""

    response: Response
    """With its `index`."""
    label: Label
    pass_rate: float
    """Right and usable responses of its group over all rollouts of the group, in (0, 1]."""
    group: int
    """Place of its group in the batch."""


@dataclass(frozen=True, kw_only=True)
class Picks:
    """What is to be judged, and what the batch looked like."""

    chosen: tuple[Pick, ...] = ()
    """At most `half` of each label, shuffled."""
    half: int = 0
    """H: how many of each label were wanted."""
    groups: int = 0
    """Groups with at least one usable response."""
    all_wrong: int = 0
    """Of them, groups whose usable responses are all wrong."""
    all_right: int = 0
    repeats: int = 0
    """Picks that are there a second time or more."""


@dataclass(frozen=True, kw_only=True)
class VerificationItem:
    """A verification prompt: one new prompt group of the current policy."""

    prompt: str
    label: Label
    """`Yes` when the judged answer is right."""
    index: int
    """Of the judged response in its batch."""
    pass_rate: float
    """Of the question, in (0, 1]."""


def build_verification_items(
    groups: Groups,
    *,
    seed: int | Sequence[int],
    n: int | None = None,
    pre_shuffle: bool = False,
    require_both: bool = False,
    prompt: Callable[[str, str], str] | None = None,
) -> list[VerificationItem]:
    """Verification prompts for the answers of a generation batch.

    `groups` holds the responses of each question in batch order, in groups of any size, see `Record`. `n` is the number of
    rollouts that a pass rate is taken over: None for the size of each group. `pre_shuffle` picks from the groups in random
    order, so that later ones are used too when there are more than enough. `require_both` gives nothing rather than items of
    one label only. `prompt` writes the prompt from question and answer: `verification_prompt` unless given.

    Returns at most 2H items, H = half the number of groups with a usable response, rounded down. Empty when nothing can be
    verified. Raises `InputError` for a reward that is not finite, a response with neither reward nor correctness, a negative
    seed, and `n` below a group's size.
    """
    picks = pick_verifications(groups, seed=seed, n=n, pre_shuffle=pre_shuffle, require_both=require_both)
    write = prompt or verification_prompt
    return [
        VerificationItem(
            prompt=write(pick.response.question, pick.response.answer or ""),
            label=pick.label,
            index=pick.response.index or 0,
            pass_rate=pick.pass_rate,
        )
        for pick in picks.chosen
    ]


def pick_verifications(
    groups: Groups,
    *,
    seed: int | Sequence[int],
    n: int | None = None,
    pre_shuffle: bool = False,
    require_both: bool = False,
) -> Picks:
    """`build_verification_items` before prompts are written, with the counts that are logged. Errors as there."""
    if np.any(np.asarray(seed) < 0):
        raise InputError(f"seed is {seed}; give 0 or more")
    rng = np.random.default_rng(seed)
    kept = [group for group in _kept(_responses(groups), n) if group.right or group.wrong]
    half = len(kept) // 2
    yes, no = _Side(), _Side()
    for place in rng.permutation(len(kept)) if pre_shuffle else range(len(kept)):
        group = kept[place]
        if group.wrong and group.right:
            yes.take(group.right, rng)
            no.take(group.wrong, rng)
        elif group.right:
            yes.pool.append(group.right[int(rng.integers(len(group.right)))])
    sides = (yes.filled(half, rng), no.filled(half, rng))
    joined = [pick for side in sides for pick in side]
    if require_both and not all(sides):
        joined = []
    return Picks(
        chosen=tuple(joined[place] for place in rng.permutation(len(joined))),
        half=half,
        groups=len(kept),
        all_wrong=sum(not group.right for group in kept),
        all_right=sum(not group.wrong for group in kept),
        repeats=len(joined) - len({pick.response.index for pick in joined}),
    )


@dataclass
class _Kept:
    """The usable responses of one group."""

    right: list[Pick]
    wrong: list[Pick]


@dataclass
class _Side:
    """The picks of one label: sure ones, and a pool for topping up."""

    sure: list[Pick] = field(default_factory=list)
    pool: list[Pick] = field(default_factory=list)

    def take(self, picks: list[Pick], rng: np.random.Generator) -> None:
        """One of a mixed group is sure, one more goes to the pool."""
        order = rng.permutation(len(picks))
        self.sure.append(picks[order[0]])
        if len(picks) > 1:
            self.pool.append(picks[order[1]])

    def filled(self, half: int, rng: np.random.Generator) -> list[Pick]:
        """The first `half`: sure ones, then the pool without replacement, then with; short when the pool is empty."""
        chosen = list(self.sure)
        if len(chosen) < half and self.pool:
            chosen += [self.pool[place] for place in rng.permutation(len(self.pool))]
            chosen += [self.pool[place] for place in rng.integers(len(self.pool), size=max(0, half - len(chosen)))]
        return chosen[:half]


def _kept(groups: list[list[Response]], n: int | None) -> list[_Kept]:
    kept = []
    for number, group in enumerate(groups):
        rollouts = len(group) if n is None else n
        if rollouts < len(group):
            raise InputError(f"group {number} has {len(group)} responses, more than n={n}; give n at least as large, or None")
        usable = [response for response in group if response.usable]
        rate = sum(response.right for response in usable) / max(rollouts, 1)
        picks = [
            Pick(response=response, label="Yes" if response.right else "No", pass_rate=rate, group=number)
            for response in usable
        ]
        kept.append(
            _Kept(right=[pick for pick in picks if pick.label == "Yes"], wrong=[pick for pick in picks if pick.label == "No"])
        )
    return kept


def _responses(groups: Groups) -> list[list[Response]]:
    found: list[list[Response]] = []
    count = 0
    for number, group in enumerate(groups):
        if isinstance(group, (Response, Mapping, str)) or not hasattr(group, "__len__"):
            raise InputError(
                f"group {number} is a {type(group).__name__}; give a sequence of groups, each a sequence of responses"
            )
        found.append([])
        for record in group:
            response = _response(record)
            found[-1].append(response if response.index is not None else replace(response, index=count))
            count += 1
    return found


def _response(record: Record) -> Response:
    if isinstance(record, Response):
        return record
    if record is None:
        return Response(answer=None, reward=0.0, valid=False)
    if not isinstance(record, Mapping):
        return Response(reward=_number(record))
    answer, index = record.get("answer", ""), record.get("index")
    valid = bool(record.get("valid", True))
    reward = record.get("reward", record.get("correct"))
    if reward is None and valid and answer is not None:
        raise InputError(f"a response has neither `reward` nor `correct`; it has: {', '.join(record) or 'nothing'}")
    return Response(
        question=str(record.get("question", "")),
        answer=None if answer is None else str(answer),
        reward=0.0 if reward is None else _number(reward),
        valid=valid,
        index=None if index is None else int(_number(index)),
    )


def _number(value: object) -> float:
    if not isinstance(value, SupportsFloat):
        raise InputError(f"a response holds {value!r} where a number or truth value is needed")
    return float(value)


# -- prompt and reward ------------------------------------------------------------------------------------------------


def verification_prompt(question: str, answer: str) -> str:
    """The prompt that has a student's final answer judged; it never holds the reference."""
    return (
        "You are a teacher who grades the work of a student. Below are a question and the final answer that the student gave. "
        "Decide whether the student's answer is correct.\n\n"
        f"Question:\n{without_instruction(question)}\n\n"
        f"Student's answer:\n{answer}\n\n"
        'First explain your analysis. Then end with a line that begins with "Answer:" and holds your verdict in a box: '
        "\\boxed{Yes} if the student's answer is correct, \\boxed{No} if it is not.\n\n"
        f"{INSTRUCTION}"
    )


def parse_verdict(text: str) -> Label | None:
    """The verdict in the last box of a response; None unless it is exactly `Yes` or `No`."""
    verdict = boxed_answer(text)
    return next((label for label in LABELS if label == verdict), None)


def verification_reward(response: str, label: str, pass_rate: float) -> float:
    """`verdict_reward` of the verdict in a response in natural language."""
    return verdict_reward(parse_verdict(response), label, pass_rate)


def verdict_reward(verdict: str | None, label: str, pass_rate: float) -> float:
    """1[verdict = label] * min(pass_rate, 0.5), in [0, 0.5]; 0 without a verdict.

    The factor is the same in a whole group: advantages that are divided by the group's deviation do not see it.
    Raises `InputError` for a label other than `Yes` and `No` and for a pass rate outside [0, 1].
    """
    if label not in LABELS:
        raise InputError(f"label `{label}` is unknown; give `Yes` or `No`")
    if not 0 <= pass_rate <= 1:
        raise InputError(f"pass rate {pass_rate} is outside [0, 1]; give the share of right rollouts of the question")
    return min(pass_rate, MAX_FACTOR) if verdict == label else 0.0


def overlong_penalty(length: int, *, limit: int = 10_240, buffer: int = 512, factor: float = 1.0) -> float:
    """min(-(length - (limit - buffer)) / buffer * factor, 0), added to a reward (DAPO, arXiv 2503.14476, equation 13).

    0 up to `limit - buffer` tokens, `-factor` at `limit`. Raises `InputError` for a negative length or factor, or a buffer
    that is not in 1 to `limit`.
    """
    if length < 0 or factor < 0 or not 0 < buffer <= limit:
        raise InputError(
            f"got length={length}, limit={limit}, buffer={buffer}, factor={factor}; "
            "give a length and a factor of 0 or more and a buffer of 1 to `limit` tokens"
        )
    over = length - (limit - buffer)
    return -over / buffer * factor if over > 0 else 0.0
