"""What TRL does to a trainer of several conversations, good or bad, measured on the pinned version.

A failure here means that the pinned version has changed, and that what `memagent_training.trainer` does about it may go.
"""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.checkpoints import GENERATIONS, tiny_qwen_vl
from PIL import Image
from tiny import gradients, scripted_batch, stock_trainer

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")

ROW = {"prompt": "1+1="}
PICTURE_KEYS = ("pixel_values", "image_grid_thw", "num_images")


def scripted(trainer: Any, batch: dict[str, Any]) -> None:
    trainer._generate_and_score_completions = lambda inputs: dict(batch)


def micro_batches(trainer: Any, batch: dict[str, Any]) -> list[dict[str, Any]]:
    """The micro-batches that the trainer makes of one generated batch."""
    scripted(trainer, batch)
    parts = []
    for step in range(trainer.args.steps_per_generation):
        trainer._step = step
        parts.append(trainer._prepare_inputs([ROW]))
    return parts


def test_rows_that_do_not_divide_by_steps_per_generation_are_dropped_silently(tmp_path: Path) -> None:
    trainer = stock_trainer(tmp_path, gradient_accumulation_steps=2)
    batch = scripted_batch([[token] for token in range(9)], [1.0] * 9)

    parts = micro_batches(trainer, batch)

    assert [len(part["advantages"]) for part in parts] == [4, 4]
    assert all(part["num_items_in_batch"] == 9 for part in parts)  # the divisor still counts the lost row


def test_rows_of_zero_mask_fill_up_without_changing_loss_or_gradient(tmp_path: Path) -> None:
    trainer = stock_trainer(tmp_path, loss_type="dapo")
    rows = scripted_batch([[5, 6, 7], [8, 9]], [1.0, -0.5])
    filled = scripted_batch([[5, 6, 7], [8, 9], []], [1.0, -0.5, 0.0])
    seen = []

    for batch in (rows, filled):
        trainer.model.zero_grad()
        loss = trainer._compute_loss(trainer.model, batch)
        loss.backward()
        seen.append((loss.detach(), gradients(trainer.model)))

    torch.testing.assert_close(seen[0], seen[1])


WHOLE = ([[5, 6, 7], [8, 9, 10]], [1.0, -1.0], [[1, 2], [1, 2]])
SPLIT = ([[5], [6, 7], [8, 9, 10]], [1.0, 1.0, -1.0], [[1, 2], [1, 2, 5], [1, 2]])
"""The same two rollouts; the first one as a row, and as two rows of which the second starts where the first ends."""


def loss_and_slope(trainer: Any, rows: tuple[Any, ...]) -> tuple[float, Any]:
    trainer.model.zero_grad()
    loss = trainer._compute_loss(trainer.model, scripted_batch(rows[0], rows[1], prompts=rows[2]))
    loss.backward()
    return loss.item(), gradients(trainer.model)


def test_splitting_a_rollout_into_rows_changes_the_objective_of_grpo(tmp_path: Path) -> None:
    trainer = stock_trainer(tmp_path, loss_type="grpo")

    whole, split = loss_and_slope(trainer, WHOLE), loss_and_slope(trainer, SPLIT)

    assert whole[0] == pytest.approx(0.0, abs=1e-6)
    assert split[0] == pytest.approx(-1 / 3, abs=1e-6)
    assert (whole[1] - split[1]).norm() > 0.1 * whole[1].norm()


def test_splitting_a_rollout_into_rows_changes_the_objective_of_dr_grpo_by_the_row_count(tmp_path: Path) -> None:
    trainer = stock_trainer(tmp_path, loss_type="dr_grpo")

    whole, split = loss_and_slope(trainer, WHOLE), loss_and_slope(trainer, SPLIT)

    torch.testing.assert_close(whole[1] * 2 / 3, split[1], rtol=1e-4, atol=1e-6)


def test_splitting_a_rollout_into_rows_leaves_dapo_as_it_is(tmp_path: Path) -> None:
    trainer = stock_trainer(tmp_path, loss_type="dapo")

    whole, split = loss_and_slope(trainer, WHOLE), loss_and_slope(trainer, SPLIT)

    assert whole[0] == pytest.approx(split[0], abs=1e-6)
    torch.testing.assert_close(whole[1], split[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("steps_per_generation", [1, 2, 4])
def test_dapo_does_not_shrink_with_steps_per_generation(tmp_path: Path, steps_per_generation: int) -> None:
    trainer = stock_trainer(tmp_path, loss_type="dapo", steps_per_generation=steps_per_generation)
    batch = scripted_batch([[5, 6, 7]] * 4 * steps_per_generation, [-1.0] * 4 * steps_per_generation)

    losses = [trainer._compute_loss(trainer.model, part).item() for part in micro_batches(trainer, batch)]

    assert losses == pytest.approx([1.0] * steps_per_generation)


def vision_batch(processor: Any, pictures: list[int]) -> dict[str, Any]:
    """One row for each number of pictures, in TRL's keys."""
    mark = "<|vision_start|><|image_pad|><|vision_end|>"
    cell = 2 * processor.image_processor.patch_size
    images = [[Image.new("RGB", (2 * cell, cell), "navy") for _ in range(count)] for count in pictures]
    seen = processor(
        text=[f"{mark * count}what?" for count in pictures],
        images=images,
        padding=True,
        padding_side="left",
        return_tensors="pt",
    )
    batch = scripted_batch([[5, 6, 7]] * len(pictures), [1.0 + at for at in range(len(pictures))])
    return batch | {
        "prompt_ids": seen["input_ids"],
        "prompt_mask": seen["attention_mask"],
        "pixel_values": seen["pixel_values"],
        "image_grid_thw": seen["image_grid_thw"],
        "num_images": pictures,
        "mm_token_type_ids": torch.nn.functional.pad(seen["mm_token_type_ids"], (0, 3)),
    }


def vision_trainer(output: Path, generation: str, **settings: Any) -> tuple[Any, Any]:
    model, processor = tiny_qwen_vl(generation)
    trainer = stock_trainer(output, model=model, processing=processor, per_device_train_batch_size=2, **settings)
    return trainer, processor


@pytest.fixture
def in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows stay where they are."""
    monkeypatch.setattr("trl.trainer.grpo_trainer.shuffle_sequence_dict", lambda batch: batch)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_stock_generation_itself_crashes_on_rows_with_and_without_pictures(tmp_path: Path, generation: str) -> None:
    trainer, _ = vision_trainer(tmp_path, generation)
    prompt = [{"role": "user", "content": "what?"}]
    rows = [{"prompt": prompt, "images": images} for images in ([Image.new("RGB", (64, 64))], [])]

    with pytest.raises(TypeError, match="NoneType"):  # TRL says None for no pictures, transformers' processor wants []
        trainer._generate_and_score_completions(rows)


@pytest.mark.usefixtures("in_order")
@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_micro_batch_without_pictures_crashes_in_a_batch_with_some(tmp_path: Path, generation: str) -> None:
    trainer, processor = vision_trainer(tmp_path, generation, gradient_accumulation_steps=2)

    seeing, blind = micro_batches(trainer, vision_batch(processor, [1, 2, 0, 0]))

    assert torch.isfinite(trainer._compute_loss(trainer.model, seeing))
    assert blind["pixel_values"].shape == (0, seeing["pixel_values"].shape[1])
    assert blind["image_grid_thw"].shape == (0, 3)
    error, message = (RuntimeError, "repeats") if generation == "3" else (ValueError, "non-empty list")
    with pytest.raises(error, match=message):
        trainer._compute_loss(trainer.model, blind)


@pytest.mark.usefixtures("in_order")
@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_micro_batch_without_pictures_works_without_the_picture_keys(tmp_path: Path, generation: str) -> None:
    trainer, processor = vision_trainer(tmp_path, generation, gradient_accumulation_steps=2)
    tower = trainer.model.model.visual
    seeing, blind = micro_batches(trainer, vision_batch(processor, [1, 2, 0, 0]))

    trainer._compute_loss(trainer.model, {key: blind[key] for key in blind if key not in PICTURE_KEYS}).backward()

    assert all(weight.grad is None for weight in tower.parameters())  # which is what unequal ranks would wait for
    trainer._compute_loss(trainer.model, seeing).backward()
    assert gradients(tower).abs().max() > 0


@pytest.mark.parametrize("generation", GENERATIONS)
def test_log_probabilities_in_chunks_crash_on_a_chunk_without_pictures(tmp_path: Path, generation: str) -> None:
    trainer, processor = vision_trainer(tmp_path, generation)
    batch = vision_batch(processor, [1, 0])
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    pictures = {key: batch[key] for key in (*PICTURE_KEYS, "mm_token_type_ids")}

    def chunked(size: int | None) -> Any:
        return trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, 3, batch_size=size, **pictures)[0]

    whole = chunked(None)
    with pytest.raises((RuntimeError, ValueError), match=r"repeats|non-empty list"):
        chunked(1)
    alone = trainer._get_per_token_logps_and_entropies(trainer.model, ids[1:], mask[1:], 3)[0]
    torch.testing.assert_close(whole[1:], alone, rtol=1e-4, atol=1e-5)  # a row does not see its neighbours' pictures


@pytest.mark.parametrize("rows", [4, 8, 20])
def test_the_number_of_micro_batches_is_fixed_so_more_rows_make_them_bigger(tmp_path: Path, rows: int) -> None:
    trainer = stock_trainer(tmp_path, gradient_accumulation_steps=2, max_steps=2)
    scripted(trainer, scripted_batch([[5, 6]] * rows, [1.0] * rows))
    sizes: list[int] = []
    original = trainer._compute_loss

    def measured(model: Any, inputs: dict[str, Any]) -> Any:
        sizes.append(len(inputs["advantages"]))
        return original(model, inputs)

    trainer._compute_loss = measured
    trainer.train()

    assert sizes == [rows // 2] * 4


def test_vllm_with_its_correction_needs_importance_sampling_ratio(tmp_path: Path) -> None:
    trainer = stock_trainer(tmp_path)
    batch = scripted_batch([[5, 6, 7], [8, 9]], [1.0, -0.5])
    plain = trainer._compute_loss(trainer.model, batch)
    trainer.use_vllm = True  # what the constructor would have set, had vLLM been here

    assert trainer.vllm_importance_sampling_correction  # on by default
    with pytest.raises(KeyError, match="importance_sampling_ratio"):
        trainer._compute_loss(trainer.model, batch)
    ones = torch.ones(2, 3)
    torch.testing.assert_close(trainer._compute_loss(trainer.model, batch | {"importance_sampling_ratio": ones}), plain)
    trainer.vllm_importance_sampling_correction = False
    torch.testing.assert_close(trainer._compute_loss(trainer.model, batch), plain)


def vllm_server(asked: list[list[list[int]]]) -> Any:
    """`VLLMGeneration` in server mode without a server: a completion names the first token of the prompt it was made for."""
    from accelerate import Accelerator
    from trl.generation.vllm_generation import VLLMGeneration

    def answer(prompts: list[list[int]], n: int, **_: Any) -> dict[str, Any]:
        asked.append(prompts)
        completions = [[100 + prompt[0]] for prompt in prompts for _ in range(n)]
        return {"prompt_ids": prompts, "completion_ids": completions, "logprobs": [[[0.0]]] * len(completions)}

    engine = object.__new__(VLLMGeneration)
    for name in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "max_completion_length", "logprobs"):
        setattr(engine, name, None)
    engine.structured_outputs_regex = engine.generation_kwargs = None
    engine.mode, engine.accelerator = "server", Accelerator(cpu=True)
    engine.vllm_client = SimpleNamespace(generate=answer)
    return engine


def test_vllm_server_still_asks_for_every_gth_prompt_only() -> None:
    asked: list[list[list[int]]] = []

    _, completions, _, _ = vllm_server(asked).generate([[1], [2], [3], [4]], images=None, num_generations=2)

    assert asked == [[[1], [3]]]
    assert completions == [[101], [101], [103], [103]]  # rows 1 and 3 answer prompts that are not theirs


def test_vllm_server_keeps_every_conversation_with_num_generations_1() -> None:
    asked: list[list[list[int]]] = []

    _, completions, _, _ = vllm_server(asked).generate([[1], [2], [3], [4]], images=None, num_generations=1)

    assert asked == [[[1], [2], [3], [4]]]
    assert completions == [[101], [102], [103], [104]]


def test_the_tool_loop_generates_one_completion_for_each_conversation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = stock_trainer(tmp_path)
    answer = {"role": "assistant", "content": "2"}
    monkeypatch.setattr("trl.trainer.grpo_trainer.parse_response", lambda tokenizer, ids, **_: answer)
    asked: list[int] = []

    def generate(prompt_ids: Any, images: Any, fields: Any, num_generations: int, has_tool_images: bool) -> Any:
        asked.append(num_generations)
        return [[7]] * len(prompt_ids), None

    trainer.tools = [len]
    trainer._sync_tool_dicts, trainer._async_tool_dicts = [{"length": len}] * 2, [{}] * 2
    trainer._get_tool_suffix_ids = lambda messages: [3]
    trainer._generate_single_turn = generate
    call = {
        "role": "assistant",
        "tool_calls": [{"type": "function", "function": {"name": "length", "arguments": {"obj": "ab"}}}],
    }
    prompts = [[{"role": "user", "content": "a"}], [{"role": "user", "content": "b"}]]

    trainer._tool_call_loop(prompts, [[1], [2]], [[5], [6]], [[dict(call)], [dict(call)]], None, None, {})

    assert asked == [1]


def test_there_is_no_liger_loss_of_its_own(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = stock_trainer(tmp_path, use_liger_kernel=True)

    assert not hasattr(trainer, "compute_liger_loss")
    assert any("use_liger_kernel=True` is deprecated" in str(warning.message) for warning in caught)
    assert trainer.args.liger_kernel_config == {"fused_linear_cross_entropy": False}  # layer kernels only
    per_token = scripted_batch([[5, 6, 7]], [0.0]) | {"advantages": torch.tensor([[1.0, 2.0, 6.0]])}
    assert trainer._compute_loss(trainer.model, per_token).item() == pytest.approx(-3.0)  # per-token advantages count


@pytest.mark.parametrize("rewards", [None, []])
def test_reward_functions_may_not_be_missing(tmp_path: Path, rewards: list[Any] | None) -> None:
    with pytest.raises(ValueError, match="No reward source provided"):
        stock_trainer(tmp_path, rewards=rewards)


def test_a_named_stub_is_enough(tmp_path: Path) -> None:
    def nothing(completions: list[str], **_: Any) -> list[float]:
        return [0.0] * len(completions)

    assert stock_trainer(tmp_path, rewards=nothing).reward_func_names == ["nothing"]


def test_construction_pings_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    topics: list[str] = []
    monkeypatch.setattr("trl.trainer.base_trainer.send_telemetry", lambda topic, **_: topics.append(topic))
    monkeypatch.delenv("CI", raising=False)

    stock_trainer(tmp_path)
    assert topics == ["trl/GRPOTrainer"]
    monkeypatch.setenv("CI", "1")
    stock_trainer(tmp_path)
    assert len(topics) == 1  # new: silent in CI


@pytest.mark.parametrize(("telemetry_off", "offline", "sent"), [(False, False, 1), (True, False, 0), (False, True, 0)])
def test_the_ping_obeys_the_switches_of_huggingface_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, telemetry_off: bool, offline: bool, sent: int
) -> None:
    from huggingface_hub.utils import _telemetry

    queued: list[dict[str, Any]] = []
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(_telemetry, "_start_telemetry_thread", lambda: None)
    monkeypatch.setattr(_telemetry, "_TELEMETRY_QUEUE", SimpleNamespace(put=queued.append))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY", telemetry_off)
    trainer = stock_trainer(tmp_path)  # what else the constructor asks the hub, it asks offline
    queued.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)

    trainer._send_telemetry()

    assert len(queued) == sent


def test_rows_are_shuffled_by_torchs_global_generator() -> None:
    from trl.trainer.utils import shuffle_sequence_dict

    batch = {"rows": torch.arange(16), "names": [str(row) for row in range(16)], "scalar": torch.tensor(5), "nothing": None}

    torch.manual_seed(0)
    first, second = shuffle_sequence_dict(batch), shuffle_sequence_dict(batch)
    torch.manual_seed(0)
    again = shuffle_sequence_dict(batch)

    assert first["rows"].tolist() != list(range(16))
    assert first["rows"].tolist() != second["rows"].tolist()
    assert again["rows"].tolist() == first["rows"].tolist()
    assert first["names"] == [str(row) for row in first["rows"].tolist()]  # in unison
    assert first["scalar"] == 5
    assert first["nothing"] is None


def test_prepare_inputs_mixes_the_rows_of_a_rollout_over_micro_batches(tmp_path: Path) -> None:
    trainer = stock_trainer(tmp_path, gradient_accumulation_steps=2)
    rollouts = [0] * 4 + [1] * 4
    splits: Counter[tuple[int, ...]] = Counter()

    for seed in range(8):
        torch.manual_seed(seed)
        first, _ = micro_batches(trainer, scripted_batch([[5]] * 8, [float(rollout) for rollout in rollouts]))
        splits[tuple(sorted(first["advantages"].int().tolist()))] += 1

    assert len(splits) > 1
