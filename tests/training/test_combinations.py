"""Every allocator x baseline x credit x objective: a step of training that is what its names say, or a refusal with a reason.

The names are the registries', and what an objective is tried on follows from what it declares, so a new part joins by itself.
"""

from __future__ import annotations

import itertools
import json
import re
import string
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("trl", reason="trl is not installed")

import torch
from helpers.checkpoints import saved_llama, saved_qwen_vl

from memagent.errors import ConfigError
from memagent_training.engines import ScriptedEngine
from memagent_training.engines.base import Prompt
from memagent_training.grpo import PromptStats, Visit
from memagent_training.grpo.judge import Judge
from memagent_training.grpo.needs import needs_of
from memagent_training.parts import part, part_class, part_names
from memagent_training.recipe import Recipe
from memagent_training.rows.batch import to_rows
from memagent_training.run import build_trainer, train
from memagent_training.runs.callbacks import Monitor

KINDS = ("allocator", "baseline", "credit", "objective")
ALL = list(itertools.product(*(part_names(kind) for kind in KINDS)))
PROMPTS, SIZE = 2, 4
TASKS: dict[str, dict[str, Any]] = {
    "characters": {"kind": "cipher", "n_ops": 2, "min_length": 1, "max_length": 1, "test_share": 0.0},
    "users": {"kind": "amemgym", "questions": 2, "periods": 2, "changes": 1, "note_tokens": 120},
    "long_text": {"kind": "long_qa"},
}
"""By the form of their rows."""
LENGTHS = {"chunk_tokens": 80, "memory_tokens": 40, "answer_tokens": 16, "budget": 64}
"""Of objectives that read long texts."""
QUESTIONS = [
    {"id": f"q{at}", "question": f"where is {at}?", "context": f"{at} is in lyon. " * 8, "answers": ["lyon"]} for at in range(2)
]
RIGHT = {"answer": (0, 1), "std": (0, 1), "augM": (0,), "augQ": (0, 2), "verify": (1, 2)}
"""The attempts that a role answers right; others are wrong, and the last draft of a note is malformed."""


def pairwise(combinations: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Few of them in which every two parts that stand together in any stand together in one."""

    def pairs(one: tuple[str, ...]) -> set[tuple[int, str, int, str]]:
        return {(a, one[a], b, one[b]) for a, b in itertools.combinations(range(len(one)), 2)}

    left = set().union(*map(pairs, combinations))
    chosen = []
    while left:
        best = max(combinations, key=lambda one: len(pairs(one) & left))
        chosen.append(best)
        left -= pairs(best)
    return chosen


def long(objective: str) -> bool:
    """Whether its episodes are, or its pairs are many, for the default suite."""
    return objective == "text_memocr" or "characters" not in needs_of(part_class("objective", objective)()).tasks


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny policies, and a file of questions."""
    made = tmp_path_factory.mktemp("combinations")
    saved_llama(made / "chat", vocab=string.printable)
    saved_qwen_vl(made / "pictures", "2.5", alphabet=string.printable)
    (made / "questions.jsonl").write_text("".join(json.dumps(one) + "\n" for one in QUESTIONS), "utf-8")
    return made


def settings(names: Sequence[str], folder: Path) -> dict[str, Any]:
    """A recipe of the parts at tiny size."""
    made = {kind: {"kind": name} for kind, name in zip(KINDS, names, strict=True)}
    objective = part_class("objective", names[3])
    needs = needs_of(objective())
    form = needs.tasks[0] if needs.tasks else "characters"
    known = set(getattr(objective, "__dataclass_fields__", ()))
    made["objective"] |= {name: value for name, value in LENGTHS.items() if name in known}
    policy: dict[str, Any] = {"kind": "tiny", "width": 16, "layers": 1, "heads": 2, "context": 4096}
    if needs.policy:
        feature = "pictures" if "pictures" in needs.policy else "chat"
        policy = {"kind": "pretrained", "path": str(folder / feature), "vision": feature == "pictures", "dtype": "float32"}
    task = TASKS[form] | ({"data": str(folder / "questions.jsonl")} if form == "long_text" else {})
    return {
        "name": "-".join(names),
        "tasks": 20 if form == "characters" else PROMPTS,
        "policy": policy,
        "task": task,
        "rollouts": {"prompts": PROMPTS, "group_size": SIZE},
        "optimizer": {"steps": 1, "learning_rate": 1e-3},
        "trl": {"save_strategy": "no"},
        **made,
    }


class Speaker:
    """What a policy is made to say, by role and attempt."""

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self.answers = {str(row["prompt"]): str(row["answer"]) for row in rows if "prompt" in row}
        self.tokenizer: Any = None

    def __call__(self, prompt: Prompt) -> list[int]:
        said = self.text(self.tokenizer.decode(list(prompt.ids)), prompt)
        ids: list[int] = self.tokenizer(said, add_special_tokens=False)["input_ids"]
        return [*ids, self.tokenizer.eos_token_id]

    def text(self, asked: str, prompt: Prompt) -> str:
        right = prompt.attempt % SIZE in RIGHT.get(prompt.role, ())
        answer = next((answer for known, answer in self.answers.items() if asked.endswith(known)), None)
        if answer is None and prompt.role == "augQ" and asked.endswith("=") and len(asked) > 1:
            return asked[-2] if right else "?"  # the last character of its own note
        if answer is not None:
            return answer if right or (prompt.role == "draft" and prompt.attempt % SIZE < 3) else "+" if right else "="
        if "<conversation>" in asked:
            told = re.findall(r"<conversation>\n.*?\n(.*?)\n", asked, re.DOTALL) or [""]
            return told[0][:100] if prompt.attempt % SIZE < 2 else f"nothing {prompt.attempt}"
        if prompt.role == "draft":
            return "# lyon has many words" + "!" * prompt.attempt
        return "\\boxed{lyon}" if right else "no"


def known(ids: Sequence[str], keys: Sequence[str]) -> list[Visit]:
    """An earlier visit of each prompt, in which some keys paid more than others."""
    return [
        Visit(
            one, 1 + at % 3, 4, {key: (1 + place + at % 2) / 2 for place, key in enumerate(keys)}, dict.fromkeys(keys, 4), -3.0
        )
        for at, one in enumerate(ids)
    ]


def step(names: Sequence[str], folder: Path, output: Path) -> Any:
    """A trainer after one step, that knew an earlier visit of each prompt. Raises `ConfigError` where a part is refused."""
    speaker = Speaker([])
    recipe = Recipe.model_validate(settings(names, folder) | {"engine": ScriptedEngine(script=speaker)})
    trainer = build_trainer(recipe, output, quiet=True)
    speaker.answers = Speaker(list(recipe.task.tasks(recipe.tasks, seed=recipe.seed))).answers
    speaker.tokenizer = getattr(trainer.processing_class, "tokenizer", trainer.processing_class)
    ids = [str(row["id"]) for row in recipe.task.tasks(recipe.tasks, seed=recipe.seed)]
    trainer.history.record(known(sorted(set(ids)), list(trainer.objective.gives.ranges)))
    trainer.remove_callback(Monitor)
    trainer.taught = PromptStats()
    trainer.taught.load_state_dict(trainer.history.state_dict())
    train(trainer)
    return trainer


def refusal(names: Sequence[str], folder: Path) -> str | None:
    """Why the parts are refused; None where they are not."""
    try:
        Recipe.model_validate(settings(names, folder))
    except ConfigError as error:
        return str(error)
    return None


def groups_of(trainer: Any) -> list[list[Any]]:
    found: dict[str, list[Any]] = {}
    for rollout in trainer.rollouts:
        found.setdefault(rollout.group_id, []).append(rollout)
    return list(found.values())


@pytest.fixture(scope="session")
def accepted(folder: Path) -> list[tuple[str, ...]]:
    """The combinations that are not refused."""
    return [names for names in ALL if refusal(names, folder) is None]


def test_every_combination_is_accepted_or_refused_with_the_part_and_what_is_allowed(folder: Path) -> None:
    found = {names: refusal(names, folder) for names in ALL}
    for names, said in found.items():
        if said is not None:
            assert sum(f'"{name}"' in said for name in names) >= 2, f"{names}: which parts do not fit? {said}"
            assert re.search(r"\b(use|take|set|leave)\b", said), f"{names}: what is allowed? {said}"
    assert {names[3] for names, said in found.items() if said is None} == set(part_names("objective"))


def check_step(names: Sequence[str], folder: Path, output: Path) -> None:
    trainer = step(names, folder, output)
    assert trainer.state.global_step == 1
    groups = groups_of(trainer)
    asked = {kind: part(kind, {"kind": name}) for kind, name in zip(KINDS[:3], names, strict=False)}
    ids = [group[0].prompt_id for group in groups]
    counts = asked["allocator"].first(ids, total=PROMPTS * SIZE, history=trainer.taught)
    grown = [len(group) - count for group, count in zip(groups, counts, strict=True)]
    assert min(grown) >= 0
    assert max(grown) == 0 or needs_of(asked["allocator"]).prior
    judge = Judge(asked["baseline"], rewards=trainer.objective.gives, prior=trainer.prior, history=trainer.taught)
    rows = to_rows(groups, credit=asked["credit"], judge=judge, weighting="rollout")
    assert any(row.advantages.any() for row in rows), "rewards that differ teach something"
    assert all(np.isfinite(row.advantages).all() for row in rows)
    trained = trainer._buffered_inputs[0]
    wanted = Counter(round(float(value), 5) for row in rows for value in row.advantages if value)
    got = Counter(round(float(value), 5) for value in trained["advantages"].flatten().tolist() if value)
    assert got == wanted
    assert all(torch.isfinite(one).all() for one in trainer.model.parameters())


@pytest.mark.parametrize(
    "objective", [pytest.param(one, marks=[pytest.mark.slow] if long(one) else []) for one in part_names("objective")]
)
def test_every_two_parts_that_go_together_train_a_step(
    objective: str, accepted: list[tuple[str, ...]], folder: Path, tmp_path: Path
) -> None:
    for names in pairwise(accepted):
        if names[3] == objective:
            check_step(names, folder, tmp_path / "-".join(names))


@pytest.mark.slow
@pytest.mark.parametrize(("allocator", "objective"), list(itertools.product(part_names("allocator"), part_names("objective"))))
def test_every_combination_that_is_accepted_trains_a_step(
    allocator: str, objective: str, accepted: list[tuple[str, ...]], folder: Path, tmp_path: Path
) -> None:
    for names in accepted:
        if (names[0], names[3]) == (allocator, objective):
            check_step(names, folder, tmp_path / "-".join(names))


@pytest.mark.parametrize("objective", part_names("objective"))
def test_no_two_baselines_and_credits_teach_the_same(
    objective: str, accepted: list[tuple[str, ...]], folder: Path, tmp_path: Path
) -> None:
    trainer = step(("uniform", "group_mean", "outcome", objective), folder, tmp_path)
    groups = groups_of(trainer)
    taught: dict[tuple[float, ...], tuple[str, str]] = {}
    for _, baseline, credit, _ in (one for one in accepted if one[0] == "uniform" and one[3] == objective):
        judge = Judge(
            part("baseline", {"kind": baseline}), rewards=trainer.objective.gives, prior=trainer.prior, history=trainer.taught
        )
        rows = to_rows(groups, credit=part("credit", {"kind": credit}), judge=judge, weighting="rollout")
        print_of = tuple(round(float(value), 6) for row in rows for value in row.advantages)
        assert print_of not in taught, f"{(baseline, credit)} teaches what {taught[print_of]} teaches"
        taught[print_of] = (baseline, credit)


def test_no_two_allocators_share_out_the_same() -> None:
    ids = ["easy", "half", "rare", "never"]
    history = PromptStats()
    history.record([("easy", 8, 8), ("half", 4, 8), ("rare", 1, 8), ("never", 0, 8)])
    shares = {
        name: tuple(part("allocator", {"kind": name}).first(ids, total=32, history=history)) for name in part_names("allocator")
    }
    assert len(set(shares.values())) == len(shares), shares
