"""What the trainer leans on in the pinned TRL: each test names one assumption and would fail if a new release broke it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from helpers.checkpoints import saved_llama, tiny_llama
from tiny import gradients, scripted_batch, stock_trainer

torch = pytest.importorskip("torch", reason="torch is not installed")
trl = pytest.importorskip("trl", reason="trl is not installed")

PROMPTS = [{"prompt": "1+1="}, {"prompt": "1+1="}, {"prompt": "12+30="}, {"prompt": "12+30="}]


def arguments(method: Any) -> list[str]:
    return list(inspect.signature(method).parameters)


def scripted(trainer: Any, batch: dict[str, Any]) -> list[int]:
    """Make the trainer "generate" this batch; the list returned grows by the number of prompts at every generation."""
    calls: list[int] = []

    def generate(inputs: list[dict[str, Any]]) -> dict[str, Any]:
        calls.append(len(inputs))
        return dict(batch)

    trainer._generate_and_score_completions = generate
    return calls


def test_version_is_the_pinned_minor() -> None:
    major, minor = trl.__version__.split(".")[:2]

    assert (int(major), int(minor)) == (1, 16)


def test_methods_that_are_overridden_or_called_keep_their_arguments() -> None:
    trainer = trl.GRPOTrainer

    assert arguments(trainer._generate_and_score_completions) == ["self", "inputs"]
    assert arguments(trainer._prepare_inputs) == ["self", "generation_batch"]
    assert arguments(trainer._calculate_rewards) == ["self", "inputs", "prompts", "completions", "completion_ids_list"]
    assert arguments(trainer._compute_loss) == ["self", "model", "inputs"]
    assert arguments(trainer._generate) == ["self", "prompts"]
    assert arguments(trainer._tokenize_prompts) == ["self", "prompts"]
    assert arguments(trainer._get_train_sampler) == ["self", "dataset"]
    assert arguments(trainer.training_step) == ["self", "model", "inputs", "num_items_in_batch"]
    assert arguments(trainer._generate_single_turn) == [
        *("self", "prompt_ids", "images", "multimodal_fields", "num_generations", "has_tool_images")
    ]
    assert arguments(trainer._get_per_token_logps_and_entropies) == [
        *("self", "model", "input_ids", "attention_mask", "logits_to_keep", "batch_size"),
        *("compute_entropy", "compute_aux_loss"),
        *("pixel_values", "image_grid_thw", "num_images", "pixel_attention_mask", "spatial_shapes", "num_tiles", "image_sizes"),
        *("token_type_ids", "mm_token_type_ids", "image_position_ids"),
    ]


def test_train_sampler_repeats_each_prompt_for_its_group_and_the_batch_for_every_step(tmp_path: Path) -> None:
    trainer = stock_trainer(tmp_path, gradient_accumulation_steps=2, num_iterations=3)

    sampler = trainer._get_train_sampler()
    batch = list(sampler)[:8]

    assert type(sampler).__name__ == "RepeatSampler"
    assert batch[0::2] == batch[1::2]
    assert len(set(batch)) == 4
    assert list(sampler)[: 6 * 8] != batch * 6  # shuffled anew for each pass ...
    again = list(trainer._get_train_sampler())
    assert again[: 6 * 8] == again[:8] * 6  # ... and one batch serves 2 steps a generation x 3 iterations
    assert again[:8] == batch  # seeded


def test_train_dataloader_hands_over_whole_generation_batches_of_raw_rows(tmp_path: Path) -> None:
    trainer = stock_trainer(tmp_path, steps_per_generation=3, rows=[{"prompt": str(at), "extra": at} for at in range(6)])

    batch = next(iter(trainer.get_train_dataloader()))

    assert isinstance(batch, list)
    assert len(batch) == 4 * 3
    assert set(batch[0]) == {"prompt", "extra"}


def test_generated_batch_of_text_has_these_keys_shapes_and_sides(tmp_path: Path) -> None:
    batch = stock_trainer(tmp_path)._generate_and_score_completions(PROMPTS)

    assert list(batch) == [
        *("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages", "num_items_in_batch")
    ]
    assert batch["prompt_ids"].shape == batch["prompt_mask"].shape == (4, 6)
    assert batch["prompt_mask"][0].tolist() == [0, 0, 1, 1, 1, 1]  # padded left
    assert batch["completion_ids"].shape == batch["completion_mask"].shape
    assert (batch["completion_mask"].diff(dim=1) <= 0).all()  # padded right
    assert batch["advantages"].shape == (4,)
    assert batch["num_items_in_batch"].ndim == 0
    assert batch["num_items_in_batch"] == batch["completion_mask"].sum()


def test_generated_batch_has_reference_and_old_log_probabilities_only_when_they_are_needed(tmp_path: Path) -> None:
    model, tokenizer = tiny_llama()
    folder = saved_llama(tmp_path / "policy")
    model = type(model).from_pretrained(folder)  # TRL reloads the reference from where the policy came from

    batch = stock_trainer(
        tmp_path, model=model, processing=tokenizer, beta=0.1, steps_per_generation=2
    )._generate_and_score_completions(PROMPTS)

    assert batch["old_per_token_logps"].shape == batch["completion_ids"].shape
    torch.testing.assert_close(batch["ref_per_token_logps"], batch["old_per_token_logps"])


def test_group_advantages_divide_by_the_deviation_plus_1e_4(tmp_path: Path) -> None:
    rewards = [0.0, 1.0, 0.25, 0.26]
    trainer = stock_trainer(tmp_path, rewards=lambda **_: rewards)

    batch = trainer._generate_and_score_completions(PROMPTS)

    expected = []
    for left, right in ((0.0, 1.0), (0.25, 0.26)):
        deviation = abs(right - left) / 2**0.5  # of two values, with n - 1
        expected += [(left - right) / 2 / (deviation + 1e-4), (right - left) / 2 / (deviation + 1e-4)]
    torch.testing.assert_close(batch["advantages"], torch.tensor(expected), rtol=1e-5, atol=1e-6)


def test_calculate_rewards_gives_rows_by_functions(tmp_path: Path) -> None:
    def length(completion_ids: list[list[int]], **_: Any) -> list[float]:
        return [len(ids) for ids in completion_ids]

    trainer = stock_trainer(tmp_path, rewards=[lambda **_: [1.0, 2.0, None, 4.0], length])

    rewards = trainer._calculate_rewards(PROMPTS, ["a"] * 4, ["b"] * 4, [[1], [1, 2], [1], []])

    torch.testing.assert_close(rewards, torch.tensor([[1.0, 1], [2, 2], [torch.nan, 1], [4, 0]]), equal_nan=True)


def test_log_probabilities_are_those_of_the_model_in_three_parts(tmp_path: Path) -> None:
    trainer = stock_trainer(tmp_path, temperature=0.5)
    batch = scripted_batch([[5, 6, 7], [8, 9]], [0.0, 0.0], prompts=[[1, 2], [3]])
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)

    found = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, 3, compute_entropy=True)
    silent = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, 3, batch_size=1)

    assert len(found) == 3
    logps, entropies, auxiliary = found
    scores = (trainer.model(input_ids=ids, attention_mask=mask).logits[:, 1:-1] / 0.5).log_softmax(-1)
    expected = scores.gather(-1, ids[:, 2:, None])[..., 0]
    real = batch["completion_mask"].bool()
    torch.testing.assert_close(logps[real], expected[real], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(entropies[real], -(scores.exp() * scores).sum(-1)[real], rtol=1e-4, atol=1e-5)
    assert auxiliary is None
    assert logps[1, 2] == 0  # padding
    torch.testing.assert_close(silent[0], logps)
    assert silent[1] is None


@pytest.mark.parametrize("loss", ["grpo", "dapo", "dr_grpo", "bnpo"])
def test_advantages_per_row_and_per_token_give_the_same_loss_and_gradient(tmp_path: Path, loss: str) -> None:
    trainer = stock_trainer(tmp_path, loss_type=loss)
    batch = scripted_batch([[5, 6, 7], [8, 9]], [1.0, -0.5])
    losses, slopes = [], []

    for advantages in (batch["advantages"], batch["advantages"][:, None].expand(2, 3)):
        trainer.model.zero_grad()
        value = trainer._compute_loss(trainer.model, batch | {"advantages": advantages})
        value.backward()
        losses.append(value.detach())
        slopes.append(gradients(trainer.model))

    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(slopes[0], slopes[1])
    assert slopes[0].abs().max() > 0


def test_advantages_per_token_weigh_each_token_alone(tmp_path: Path) -> None:
    trainer = stock_trainer(tmp_path, loss_type="dapo")
    batch = scripted_batch([[5, 6, 7]], [0.0]) | {"advantages": torch.tensor([[1.0, 2.0, 6.0]])}

    assert trainer._compute_loss(trainer.model, batch).item() == pytest.approx(-3.0)  # the ratio is 1 everywhere


def test_tool_mask_takes_tokens_out_of_the_loss(tmp_path: Path) -> None:
    trainer = stock_trainer(tmp_path, loss_type="grpo")
    batch = scripted_batch([[5, 6, 7]], [0.0]) | {"advantages": torch.tensor([[1.0, 2.0, 6.0]])}

    loss = trainer._compute_loss(trainer.model, batch | {"tool_mask": torch.tensor([[1, 0, 1]])})

    assert loss.item() == pytest.approx(-3.5)


def test_prepare_inputs_cuts_one_generation_into_equal_micro_batches_and_buffers_them(tmp_path: Path) -> None:
    trainer = stock_trainer(tmp_path, gradient_accumulation_steps=2)
    batch = scripted_batch([[token, token] for token in range(8)], [float(token) for token in range(8)])
    calls = scripted(trainer, batch)

    first = trainer._prepare_inputs(PROMPTS * 2)
    trainer._step = 1
    second = trainer._prepare_inputs(PROMPTS * 2)

    assert calls == [8]
    assert len(first["advantages"]) == len(second["advantages"]) == 4
    assert sorted([*first["advantages"].tolist(), *second["advantages"].tolist()]) == list(range(8))
    for part in (first, second):
        assert part["completion_ids"][:, 0].tolist() == part["advantages"].tolist()  # rows stay together
        assert part["num_items_in_batch"] == batch["num_items_in_batch"]  # and this stays whole


def test_generation_happens_when_the_step_counter_is_at_a_boundary(tmp_path: Path) -> None:
    trainer = stock_trainer(tmp_path, gradient_accumulation_steps=2, num_iterations=2)
    calls = scripted(trainer, scripted_batch([[1, 2]] * 8, [0.0] * 8))
    generated = []

    for step in range(9):
        trainer._step = step
        before = len(calls)
        trainer._prepare_inputs(PROMPTS * 2)
        generated.append(len(calls) > before)

    assert generated == [True, False, False, False, True, False, False, False, True]


def test_evaluation_generates_for_every_batch_and_buffers_nothing(tmp_path: Path) -> None:
    trainer = stock_trainer(tmp_path)
    calls = scripted(trainer, scripted_batch([[1, 2]] * 4, [0.0] * 4))
    trainer.model.eval()

    trainer._prepare_inputs(PROMPTS)
    trainer._prepare_inputs(PROMPTS)

    assert calls == [4, 4]
    assert trainer._buffered_inputs is None


def test_step_counts_micro_batches(tmp_path: Path) -> None:
    trainer = stock_trainer(tmp_path, gradient_accumulation_steps=2, max_steps=3)

    trainer.train()

    assert trainer.state.global_step == 3
    assert trainer._step == 6


def test_resuming_in_the_middle_of_a_window_generates_anew_and_starts_a_new_window(tmp_path: Path) -> None:
    options: dict[str, Any] = {"steps_per_generation": 4, "save_strategy": "steps", "save_steps": 2, "save_only_model": False}

    def run(steps: int, resume: bool) -> tuple[list[int], int]:
        trainer = stock_trainer(tmp_path, max_steps=steps, **options)
        made: list[int] = []
        original = trainer._generate_and_score_completions

        def generate(inputs: list[dict[str, Any]]) -> dict[str, Any]:
            made.append(trainer.state.global_step)
            return original(inputs)

        trainer._generate_and_score_completions = generate
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2") if resume else None)
        return made, trainer._step

    assert run(6, resume=False) == ([0, 4], 6)
    assert run(6, resume=True) == ([2], 4)  # the counter is not saved: without a stop it would be at 6, the next window at 4


def test_dapo_loss_is_the_token_mean_over_the_generation_batch(tmp_path: Path) -> None:
    trainer = stock_trainer(tmp_path, loss_type="dapo", gradient_accumulation_steps=2)
    batch = scripted_batch([[5, 6, 7], [8]], [1.0, -2.0]) | {"num_items_in_batch": torch.tensor(10)}

    assert trainer._compute_loss(trainer.model, batch).item() == pytest.approx(-(3 * 1.0 - 2.0) / 10)


def test_policy_is_a_pretrained_model_with_a_fused_head(tmp_path: Path) -> None:
    trainer = stock_trainer(tmp_path)
    ids = torch.tensor([[1, 2, 3]])

    assert trainer.model(input_ids=ids, labels=ids, fused_lm_head=True).log_probs.shape == (1, 2)
    assert trainer.model(input_ids=ids).logits.shape[:2] == (1, 3)  # generation is untouched


def grids() -> dict[str, Any]:
    """Three rows with one, no and two pictures of 4, 8 and 4 patches; the pixels of picture i are all i."""
    patches = [4, 8, 4]
    return {
        "prompt_ids": torch.tensor([[0], [1], [2]]),
        "pixel_values": torch.cat([torch.full((count, 5), float(at)) for at, count in enumerate(patches)]),
        "image_grid_thw": torch.tensor([[1, 2, 2], [1, 2, 4], [1, 2, 2]]),
        "num_images": [1, 0, 2],
        "num_items_in_batch": torch.tensor(7),
    }


def test_split_pixel_values_by_grid_gives_one_tensor_a_row_and_unsplit_undoes_it() -> None:
    from trl.trainer.utils import split_pixel_values_by_grid, unsplit_pixel_values_by_grid

    batch = grids()
    split = split_pixel_values_by_grid(batch)

    assert [len(rows) for rows in split["pixel_values"]] == [4, 0, 12]
    assert [len(rows) for rows in split["image_grid_thw"]] == [1, 0, 2]
    whole = unsplit_pixel_values_by_grid(split)
    for key in ("pixel_values", "image_grid_thw"):
        torch.testing.assert_close(whole[key], batch[key])
    without = {key: value for key, value in batch.items() if key != "num_images"}
    assert split_pixel_values_by_grid(without) is without  # silently left whole: never forget `num_images`
    with pytest.raises(ValueError, match="Mismatch"):
        split_pixel_values_by_grid(batch | {"pixel_values": batch["pixel_values"][1:]})


def test_shuffle_and_split_keep_pictures_with_their_rows() -> None:
    from trl.trainer.utils import (
        shuffle_sequence_dict,
        split_pixel_values_by_grid,
        split_tensor_dict,
        unsplit_pixel_values_by_grid,
    )

    torch.manual_seed(1)
    shuffled = shuffle_sequence_dict(split_pixel_values_by_grid(grids()))
    parts = [unsplit_pixel_values_by_grid(part) for part in split_tensor_dict(shuffled, 3)]

    assert sorted(part["prompt_ids"].item() for part in parts) == [0, 1, 2]
    for part in parts:
        row = part["prompt_ids"].item()
        assert part["num_images"] == [[1], [0], [2]][row]
        assert part["pixel_values"][:, 0].tolist() == [[0.0] * 4, [], [1.0] * 8 + [2.0] * 4][row]
        assert part["image_grid_thw"].tolist() == [[[1, 2, 2]], [], [[1, 2, 4], [1, 2, 2]]][row]
        assert part["num_items_in_batch"] == 7


def test_split_tensor_dict_measures_rows_by_the_first_value() -> None:
    from trl.trainer.utils import split_tensor_dict

    parts = split_tensor_dict({"none": None, "rows": torch.arange(4), "scalar": torch.tensor(3), "names": list("abcd")}, 2)

    assert [part["rows"].tolist() for part in parts] == [[0, 1], [2, 3]]
    assert [part["names"] for part in parts] == [["a", "b"], ["c", "d"]]
    assert [part["scalar"].item() for part in parts] == [3, 3]
    assert parts[0]["none"] is None
    with pytest.raises(AttributeError):
        split_tensor_dict({"names": list("abcd"), "rows": torch.arange(4)}, 2)  # a list must not come first
