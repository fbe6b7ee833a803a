"""Rows packed into one sequence train as rows side by side do, for text and for both generations of Qwen-VL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")

import torch
from helpers.checkpoints import GENERATIONS, saved_qwen_vl, tiny_llama, tiny_qwen_vl
from helpers.slow import slow
from picture_runs import learn, reader, speak
from scripted_runs import Run, Sizes, Talk, grade, mixture_of_experts, ours, policy, said
from transformers.modeling_flash_attention_utils import prepare_fa_kwargs_from_position_ids

from memagent.errors import ConfigError
from memagent.memory.memocr.loops import Loop
from memagent.types import ImagePart, Message, user_message
from memagent_renderers import Budget, render
from memagent_training.engines import ScriptedEngine
from memagent_training.grpo.credit import HianCredit
from memagent_training.grpo.needs import Rewards
from memagent_training.grpo.rollout import Segment
from memagent_training.objectives.base import EpisodeResult, PlainBatches, PolicyRequest, Task
from memagent_training.policy import PretrainedPolicy, build_policy
from memagent_training.rows.batch import TrainingRow, to_tensors
from memagent_training.rows.packed import check_rows_stay_apart, packed_scores, positions
from memagent_training.tokenization import PolicyTokenizer

EVERYTHING: dict[str, Any] = {"beta": 0.1, "entropy_coef": 0.05, "num_iterations": 2, "max_steps": 2}


class Talks(PlainBatches):
    """A question without a picture, then a talk over one or two pages: three turns in one conversation, each graded."""

    gives: Rewards = Rewards(ranges={"answer": (0.0, 3.0)}, turns=True)

    def __init__(self, generation: str, *, pages: Callable[[int], int]) -> None:
        self.reader, self.pages = reader(generation), pages

    def episode(self, task: Task, *, seed: int) -> Loop[EpisodeResult]:
        problem = str(task["prompt"])
        first = yield PolicyRequest((user_message(problem),), max_tokens=5, role="draft", seed=seed)
        shown = [
            ImagePart(data=render(f"# {first.text} {at}\n{problem}", Budget(6 + 4 * at, self.reader)).png)
            for at in range(self.pages(seed))
        ]
        messages = [user_message(f"{problem}?", *shown)]
        for turn in range(3):
            reply = yield PolicyRequest(tuple(messages), max_tokens=2 + turn, role="turn", seed=seed)
            messages += [Message(role="assistant", content=reply.text), user_message(f"+{turn}=")]
        grades = tuple(grade(one.text) for one in messages if one.role == "assistant")
        return EpisodeResult(
            rewards={"answer": sum(grades)}, turn_rewards=(grade(first.text), *grades), correct=grades[0] > 0.5
        )


def one_or_two(seed: int) -> int:
    return 1 + seed % 2


def agree(packed: Run, padded: Run) -> None:
    """Losses to 1e-6, gradients of every update to 1e-5, and the metrics that TRL makes of them."""
    assert packed.trainer.layout == "packed"
    assert packed.losses == pytest.approx(padded.losses, abs=1e-6)
    assert len(packed.gradients) == len(padded.gradients) > 0
    for one, other in zip(packed.gradients, padded.gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
        assert other.abs().max() > 1e-3
    for one, other in zip(packed.logs, padded.logs, strict=True):
        for name in ("entropy", "kl", "policy_loss", "clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/high_max"):
            assert one.get(name, 0.0) == pytest.approx(other.get(name, 0.0), abs=2e-5), name
    assert packed.logs[0]["rows/padded_share"] == 0.0
    assert packed.logs[0]["rows/tokens"] < padded.logs[0]["rows/tokens"]


def talked(
    output: Path, generation: str, layout: str, *, pages: Callable[[int], int], more: Any = None, **settings: Any
) -> Run:
    folder = saved_qwen_vl(output / "start", generation)  # TRL loads the reference by its folder
    start = PretrainedPolicy(kind="pretrained", path=str(folder), vision=True, dtype="float32")
    model = build_policy(start, alphabet="", seed=0)[:2]
    parts = {
        "objective": Talks(generation, pages=pages),
        "engine": ScriptedEngine(script=speak),
        "credit": HianCredit(),
        "allocator": Sizes(sizes=(3, 2)),
        "token_budget": 400,
        "layout": layout,
        **(more or {}),
    }
    return learn(output / "run", generation, model=model, parts=parts, learning_rate=1e-2, **settings)


@pytest.mark.parametrize("generation", [slow("2.5"), "3"])
@pytest.mark.parametrize("pages", [one_or_two, lambda seed: 0], ids=["pictures", "text"])
def test_packed_rows_train_a_qwen_vl_as_padded_ones_do(generation: str, pages: Any, tmp_path: Path) -> None:
    """With masks, advantages by turn, a reference model, an entropy bonus, two epochs, and parts."""
    packed, padded = (
        talked(tmp_path / layout, generation, layout, pages=pages, **EVERYTHING) for layout in ("packed", "padded")
    )

    agree(packed, padded)
    segments = [segment for one in packed.trainer.rollouts for segment in one.segments]
    assert {len(segment.images) for segment in segments} == ({0, 1, 2} if pages is one_or_two else {0})
    assert any(0 in (segment.mask or ()) for segment in segments)
    assert packed.logs[1]["kl"] > 0
    assert max(map(len, packed.trainer._sizes)) > 1


@pytest.mark.parametrize("attn", ["sdpa", "eager"])
@pytest.mark.parametrize(
    "settings",
    [{}, EVERYTHING, {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 4}, {"loss_type": "grpo"}],
    ids=["plain", "everything", "accumulation", "grpo"],
)
def test_packed_rows_train_a_text_model_as_padded_ones_do(attn: str, settings: Any, tmp_path: Path) -> None:
    def run(layout: str) -> Run:
        model = policy(tmp_path / layout / "policy")
        model[0].set_attn_implementation(attn)
        rows = {} if settings.get("loss_type") == "grpo" else {"allocator": Sizes(sizes=(3, 2)), "token_budget": 120}
        return ours(
            tmp_path / layout,
            objective=Talk(),
            script=lambda ids, attempt: said(ids, attempt, longest=3, even=True),
            model=model,
            parts=rows | {"credit": HianCredit(), "layout": layout},
            **settings,
        )

    agree(run("packed"), run("padded"))


def adapters(*modules: str) -> Any:
    from peft import LoraConfig

    return LoraConfig(r=2, target_modules=[*modules], init_lora_weights=False, task_type="CAUSAL_LM")


def test_packed_rows_train_adapters_as_padded_ones_do(tmp_path: Path) -> None:
    """The reference is the policy without them."""

    def run(layout: str) -> Run:
        torch.manual_seed(0)  # of the adapters
        parts = {"allocator": Sizes(sizes=(3, 2)), "token_budget": 120, "layout": layout, "credit": HianCredit()}
        return ours(
            tmp_path / layout,
            objective=Talk(),
            script=lambda ids, attempt: said(ids, attempt, longest=3, even=True),
            parts=parts | {"peft_config": adapters("q_proj", "down_proj")},
            **EVERYTHING,
        )

    packed, padded = run("packed"), run("padded")
    agree(packed, padded)
    assert packed.logs[1]["kl"] > 0
    trained = {name for name, one in packed.trainer.model.named_parameters() if one.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)


def test_packed_rows_with_pictures_train_adapters_as_padded_ones_do(tmp_path: Path) -> None:
    runs = []
    for layout in ("packed", "padded"):
        torch.manual_seed(0)
        more = {"peft_config": adapters("q_proj", "v_proj")}
        runs.append(talked(tmp_path / layout, "2.5", layout, pages=one_or_two, more=more, beta=0.1, max_steps=1))
    agree(*runs)
    assert any(segment.images for one in runs[0].trainer.rollouts for segment in one.segments)


@pytest.mark.parametrize("budget", [None, 60])
def test_packed_rows_train_a_mixture_of_experts_as_padded_ones_do(budget: int | None, tmp_path: Path) -> None:
    """Padding is routed nowhere, so the balance of experts is the same."""

    def run(layout: str, **settings: Any) -> Run:
        parts = {"allocator": Sizes(sizes=(5, 3)), "layout": layout, "token_budget": budget}
        return ours(tmp_path / f"{layout}{settings}", model=mixture_of_experts(), parts=parts, entropy_coef=0.05, **settings)

    packed, padded = run("packed"), run("padded")
    agree(packed, padded)
    assert packed.logs[0]["aux_loss"] == pytest.approx(padded.logs[0]["aux_loss"], abs=1e-6)
    plain = run("packed", router_aux_loss_coef=0.0)
    assert (packed.gradients[0] - plain.gradients[0]).abs().max() > 1e-4  # the balance is felt


# -- where a row ends ----------------------------------------------------------------------------------------------------


def three_rows(model: Any, processor: Any, *, pages: bool) -> Any:
    tokenizer = PolicyTokenizer(processor, model.config)
    seen = reader("3" if "3" in model.config.model_type else "2.5") if pages else None
    rows = []
    for at, text in enumerate(("what is 1?", "and 22?", "x")):
        shown = [ImagePart(data=render(f"# {text}", Budget(4 + 4 * at, seen)).png)] if seen is not None else []
        prompt = tokenizer.encode(PolicyRequest((user_message(text, *shown),)))
        segment = Segment(prompt_ids=prompt.ids, ids=[3 + at, 4, 5, 6 + at][: 2 + at], images=prompt.images)
        rows.append(TrainingRow(segment, torch.ones(2 + at).numpy(), "r"))
    return to_tensors(rows, tokenizer)


def inputs_of(batch: Any) -> tuple[Any, Any]:
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    return ids, torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)


def logits(model: Any, ids: Any, mask: Any, batch: Any, where: Any) -> Any:
    pictures = {key: batch[key] for key in ("pixel_values", "image_grid_thw") if key in batch}
    with torch.no_grad():
        return model(input_ids=ids[mask.bool()][None], position_ids=where, use_cache=False, **pictures).logits[0]


def alone(model: Any, ids: Any, mask: Any, batch: Any) -> Any:
    """Logits of each row without the others, one after the other, by the model's own positions."""
    found, patches, images = [], 0, 0
    for at, row in enumerate(ids):
        real = mask[at].bool()
        inputs = {"input_ids": row[real][None], "attention_mask": torch.ones(1, int(real.sum()))}
        if "pixel_values" in batch:
            grids = batch["image_grid_thw"][images : images + batch["num_images"][at]]
            count = int(grids.prod(-1).sum())
            inputs |= {
                "pixel_values": batch["pixel_values"][patches : patches + count],
                "image_grid_thw": grids,
                "mm_token_type_ids": batch["mm_token_type_ids"][at][real][None],
            }
            patches, images = patches + count, images + len(grids)
        with torch.no_grad():
            found.append(model(**inputs).logits[0])
    return torch.cat(found)


@pytest.mark.parametrize("attn", ["sdpa", "eager"])
@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("pages", [True, False])
def test_four_rows_of_positions_keep_packed_rows_apart_and_three_do_not(generation: str, pages: bool, attn: str) -> None:
    model, processor = tiny_qwen_vl(generation)
    model.set_attn_implementation(attn)
    batch = three_rows(model, processor, pages=pages)
    ids, mask = inputs_of(batch)
    where = positions(model, ids, mask, batch)
    expected = alone(model, ids, mask, batch)

    assert where.shape == (4, 1, int(mask.sum()))
    torch.testing.assert_close(logits(model, ids, mask, batch, where), expected, atol=5e-6, rtol=0)
    trapped = (logits(model, ids, mask, batch, where[1:]) - expected).abs().max()
    assert trapped > 0.01  # two thousand times as far


def test_positions_of_a_text_model_start_anew_in_each_row() -> None:
    model, _ = tiny_llama()
    ids = torch.tensor([[0, 5, 6, 7], [0, 0, 8, 0], [1, 2, 3, 4]])
    mask = torch.tensor([[0, 1, 1, 1], [0, 0, 1, 0], [1, 1, 1, 1]])

    where = positions(model, ids, mask, {})

    assert where.tolist() == [[0, 1, 2, 0, 0, 1, 2, 3]]
    (lengths, _), (longest, _) = prepare_fa_kwargs_from_position_ids(where)
    assert (lengths.tolist(), int(longest)) == ([0, 3, 4, 8], 4)  # what FlashAttention is told


@pytest.mark.parametrize("generation", GENERATIONS)
def test_scores_do_not_depend_on_what_was_generated_before(generation: str, tmp_path: Path) -> None:
    """A generation leaves its offsets of positions in the model."""
    model, processor = tiny_qwen_vl(generation)
    learn(tmp_path, generation, model=(model, processor), max_steps=1)  # gives it a head that scores
    batch = three_rows(model, processor, pages=True)
    ids, mask = inputs_of(batch)

    def scores() -> Any:
        with torch.no_grad():
            return packed_scores(model, model, ids, mask, completion=batch["completion_ids"].shape[1], pictures=batch)[0]

    model.model.rope_deltas = None
    fresh = scores()
    model.model.rope_deltas = torch.tensor([[1000]])
    torch.testing.assert_close(scores(), fresh, atol=0, rtol=0)
    assert fresh.shape == batch["completion_ids"].shape
    assert (fresh == 0).equal(batch["completion_mask"] == 0)


def test_a_model_that_carries_a_state_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'a mamba carries a state.*rows\.layout = "padded"'):
        check_rows_stay_apart(SimpleNamespace(_is_stateful=True, config=SimpleNamespace(model_type="mamba")))


def test_policy_and_reference_have_the_attention_that_the_recipe_names(tmp_path: Path) -> None:
    folder = saved_qwen_vl(tmp_path / "start", "2.5")
    start = PretrainedPolicy(kind="pretrained", path=str(folder), vision=True, dtype="float32", attn="eager")
    model, processor, _ = build_policy(start, alphabet="", seed=0)

    run = learn(tmp_path / "run", "2.5", model=(model, processor), parts={"layout": "packed"}, beta=0.1, max_steps=1)

    trainer = run.trainer
    for config in (trainer.model.config, trainer.ref_model.config):
        assert config._attn_implementation == config.vision_config._attn_implementation == "eager"


def test_an_attention_that_cannot_be_had_is_refused(tmp_path: Path) -> None:
    folder = saved_qwen_vl(tmp_path, "2.5")
    start = PretrainedPolicy(kind="pretrained", path=str(folder), vision=True, attn="no_such_attention")

    with pytest.raises(ConfigError, match=r'does not load with policy\.attn = "no_such_attention": '):
        build_policy(start, alphabet="", seed=0)
