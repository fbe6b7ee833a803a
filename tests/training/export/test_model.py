"""Runs become models that load by themselves: the same policy, the training limits of pictures, nothing run on the way."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")

import torch
import transformers
from exported_runs import IDS, recipe_of, trained
from helpers.checkpoints import GENERATIONS, saved_llama, saved_qwen_vl
from safetensors.torch import load_file, save_file

from memagent.errors import ConfigError
from memagent_training import cli
from memagent_training.export import export_run, open_run
from memagent_training.recipe import load_recipe
from memagent_training.run import save_final, train, write_recipe
from memagent_training.tokenization import picture_limits


def logits(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=torch.tensor([ids])).logits
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a text model, all of it trained."""
    folder = tmp_path_factory.mktemp("whole")
    trained(recipe_of(saved_llama(folder / "start"), folder / "tasks.jsonl"), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Of adapters, and the model with them as it was trained."""
    folder = tmp_path_factory.mktemp("lora")
    trainer = trained(recipe_of(saved_llama(folder / "start"), folder / "tasks.jsonl", lora=True), folder / "run")
    return folder / "run", trainer.model


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A run that a test may damage."""
    return Path(shutil.copytree(run, tmp_path / "run"))


def test_a_whole_policy_is_written_in_the_type_asked_for(run: Path, tmp_path: Path) -> None:
    done = export_run(run, tmp_path / "exact", dtype="float32")
    assert done.gap is not None
    assert done.gap < 1e-6
    start = transformers.AutoModelForCausalLM.from_pretrained(run.parent / "start")
    policy = transformers.AutoModelForCausalLM.from_pretrained(run / "final")
    model, told = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "exact", output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    assert torch.equal(logits(model, IDS), logits(policy, IDS))
    assert not torch.equal(logits(model, IDS), logits(start, IDS))
    assert not list((tmp_path / "exact").glob("*.bin"))

    assert export_run(run, tmp_path / "half").dtype == "bfloat16"
    half = load_file(tmp_path / "half" / "model.safetensors")
    assert all(torch.equal(one, load_file(run / "final" / "model.safetensors")[name].bfloat16()) for name, one in half.items())
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "half")
    assert tokenizer.apply_chat_template([{"role": "user", "content": "a"}], tokenize=False).startswith("<|im_start|>user")


def test_a_checkpoint_can_be_taken_in_place_of_the_end(run: Path, tmp_path: Path) -> None:
    done = export_run(run, tmp_path / "one", step=1, dtype="float32")
    assert done.step == 1
    assert (tmp_path / "one" / "README.md").read_text("utf-8").count("Checkpoint of step 1")
    with pytest.raises(ConfigError, match=r"no whole checkpoint of step 7; steps of whole checkpoints: 1"):
        export_run(run, tmp_path / "seven", step=7)


def test_weights_in_several_files_are_taken_by_their_index(copy: Path, tmp_path: Path) -> None:
    policy = transformers.AutoModelForCausalLM.from_pretrained(copy / "final")
    (copy / "final" / "model.safetensors").unlink()
    policy.save_pretrained(copy / "final", max_shard_size="20KB")
    assert len(list((copy / "final").glob("model-*.safetensors"))) > 1
    assert export_run(copy, tmp_path / "model", dtype="float32").gap == pytest.approx(0, abs=1e-6)
    cut(sorted((copy / "final").glob("model-*.safetensors"))[-1])
    with pytest.raises(ConfigError, match="is damaged"):
        export_run(copy, tmp_path / "again")


def test_merged_adapters_are_the_model_that_was_trained(adapters: tuple[Path, Any], tmp_path: Path) -> None:
    run, model = adapters
    assert export_run(run, tmp_path / "merged", merge=True, dtype="float32").gap == pytest.approx(0, abs=1e-6)
    merged = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(logits(merged, IDS), logits(model, IDS), atol=1e-6, rtol=1e-5)
    start = transformers.AutoModelForCausalLM.from_pretrained(run.parent / "start")
    assert (logits(merged, IDS) - logits(start, IDS)).abs().max() > 1e-4
    assert export_run(run, tmp_path / "half", merge=True).dtype == "bfloat16"


def test_adapters_are_written_as_peft_reads_them(adapters: tuple[Path, Any], tmp_path: Path) -> None:
    from peft import PeftModel

    run, model = adapters
    assert export_run(run, tmp_path / "lora").dtype == "float32"
    start = transformers.AutoModelForCausalLM.from_pretrained(run.parent / "start")
    loaded = PeftModel.from_pretrained(start, tmp_path / "lora")
    torch.testing.assert_close(logits(loaded, IDS), logits(model, IDS), atol=1e-6, rtol=1e-5)
    assert "--lora-modules" in (tmp_path / "lora" / "README.md").read_text("utf-8")


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_policy_that_sees_keeps_the_limits_of_its_training(generation: str, tmp_path: Path) -> None:
    start = saved_qwen_vl(tmp_path / "start", generation)
    trainer = trained(recipe_of(start, tmp_path / "tasks.jsonl", vision=True), tmp_path / "run")
    done = export_run(tmp_path / "run", tmp_path / "model", dtype="float32")
    assert done.gap == pytest.approx(0, abs=1e-6)
    limits = picture_limits(trainer.model.config)["size"]
    for name, path in (("preprocessor_config.json", ()), ("processor_config.json", ("image_processor",))):
        found = json.loads((tmp_path / "model" / name).read_text())
        for key in path:
            found = found[key]
        assert found["size"] == limits
        assert not {"min_pixels", "max_pixels"} & set(found)
    model, told = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    torch.testing.assert_close(logits(model, IDS), logits(trainer.model, IDS), atol=1e-6, rtol=1e-5)


def test_a_tiny_policy_is_exported_too(tmp_path: Path) -> None:
    from memagent_training.run import build_trainer

    changed = {"rollouts.prompts": 4, "rollouts.group_size": 4, "policy.width": 16, "optimizer.steps": 1}
    recipe = load_recipe("demo", overrides=changed)
    trainer = build_trainer(recipe, tmp_path / "run", quiet=True)
    write_recipe(recipe, tmp_path / "run")
    train(trainer)
    save_final(trainer, recipe)
    assert cli.main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "model")]) == 0
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert torch.equal(logits(model, IDS), logits(trainer.model, IDS))


# -- refused ----------------------------------------------------------------------------------------------------------


class Shout:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "ran")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def pickled(run: Path) -> None:
    (run / "final" / "model.safetensors").unlink()
    torch.save(Shout(run / "ran"), run / "final" / "pytorch_model.bin")
    torch.save(Shout(run / "ran"), run / "final" / "weights.pt")


def indexed(run: Path, name: object) -> None:
    final = run / "final"
    weights = load_file(final / "model.safetensors")
    (final / "model.safetensors").rename(run / "model.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, name)}
    (final / "model.safetensors.index.json").write_text(json.dumps(index))


def lacking(run: Path) -> None:
    weights = load_file(run / "final" / "model.safetensors")
    save_file({name: one for name, one in weights.items() if "layers.1" not in name}, run / "final" / "model.safetensors")


def moved(run: Path) -> None:
    weights = load_file(run / "final" / "model.safetensors")
    weights["lm_head.weight"] = weights["lm_head.weight"] * 3
    save_file(weights, run / "final" / "model.safetensors", metadata={"format": "pt"})


def coded(run: Path) -> None:
    config = json.loads((run / "final" / "config.json").read_text())
    (run / "final" / "evil.py").write_text(f"open({str(run / 'ran')!r}, 'w').write('ran')")
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}}
    (run / "final" / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda run: cut(run / "final" / "model.safetensors"), "is damaged"),
        (lambda run: (run / "final" / "model.safetensors").write_bytes(b"\xff" * 64), "is damaged"),
        (lambda run: cut(run / "recipe.json"), "is not JSON"),
        (lambda run: (run / "recipe.json").write_text("[" * 100_000), "is not JSON"),
        (lambda run: (run / "recipe.json").write_text('{"recipe": {"name": 3}}'), "no recipe of this version"),
        (lambda run: (run / "recipe.json").unlink(), "folder of a run"),
        (lambda run: cut(run / "final" / "probe.json"), r"probe\.json` is damaged"),
        (lambda run: (run / "final" / "probe.json").write_text('{"ids": [1, 99999], "logprobs": [0]}'), "does not know"),
        (pickled, r"pytorch_model\.bin, .*weights\.pt: pickled files could run code"),
        (lambda run: indexed(run, "../model.safetensors"), "must be a file of that folder"),
        (lambda run: indexed(run, "/etc/passwd"), "must be a file of that folder"),
        (lambda run: indexed(run, ".."), "must be a file of that folder"),
        (lambda run: indexed(run, 3), "must be a file of that folder"),
        (lacking, r"lacks \d+ weights of the policy"),
        (moved, "what was written is not what was trained"),
        (coded, "does not load"),
        (lambda run: cut(run / "final" / "tokenizer.json"), "tokenizer or processor .* cannot be read"),
        (lambda run: (run / "final" / "tokenizer_config.json").write_text('{"tokenizer_class": 3}'), "cannot be read"),
    ],
)
def test_what_is_damaged_or_hostile_is_refused_and_leaves_nothing(damage: Any, said: str, copy: Path, tmp_path: Path) -> None:
    damage(copy)
    with pytest.raises(ConfigError, match=said):
        export_run(copy, tmp_path / "model")
    assert not (copy / "ran").exists()
    assert [one.name for one in tmp_path.iterdir()] == ["run"]


def test_a_checkpoint_that_was_cut_is_not_taken(copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / "final")
    cut(copy / "checkpoint-1" / "model.safetensors")
    with pytest.raises(ConfigError, match="neither `final` nor a whole checkpoint"):
        export_run(copy, tmp_path / "model")


def test_adapters_of_another_shape_than_the_recipes_are_refused(adapters: tuple[Path, Any], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(adapters[0], tmp_path / "run"))
    weights = load_file(copy / "final" / "adapter_model.safetensors")
    save_file({name: one[:1].contiguous() for name, one in weights.items()}, copy / "final" / "adapter_model.safetensors")
    with pytest.raises(ConfigError, match="of another policy than its recipe's"):
        export_run(copy, tmp_path / "model")
    (copy / "final" / "adapter_model.safetensors").unlink()
    (copy / "final" / "adapter_model.bin").write_bytes(pickle.dumps(Shout(copy / "ran")))
    with pytest.raises(ConfigError, match=r"adapter_model\.bin.*pickled files could run code"):
        export_run(copy, tmp_path / "model")
    assert not (copy / "ran").exists()


def test_nothing_is_overwritten_and_nothing_merged_without_adapters(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is there already"):
        export_run(run, tmp_path)
    with pytest.raises(ConfigError, match="leave --merge out"):
        export_run(run, tmp_path / "model", merge=True)


def test_a_run_that_is_saved_by_shard_has_its_policy_in_the_last_checkpoint(copy: Path) -> None:
    """No process has all weights at the end; `save_model` of transformers then writes nothing."""
    from torch.distributed.fsdp import StateDictType

    shutil.rmtree(copy / "final")
    (copy / "README.md").unlink()
    plugin = SimpleNamespace(state_dict_type=StateDictType.SHARDED_STATE_DICT)
    trainer = SimpleNamespace(
        args=SimpleNamespace(output_dir=str(copy)),
        state=SimpleNamespace(global_step=1),
        is_fsdp_enabled=True,
        accelerator=SimpleNamespace(state=SimpleNamespace(fsdp_plugin=plugin), is_main_process=True),
    )
    assert save_final(trainer, open_run(copy).recipe) == copy / "checkpoint-1"  # type: ignore[arg-type]
    assert not (copy / "final").exists()
    assert f"memagent-train export {copy} --out {copy}-model" in (copy / "README.md").read_text("utf-8")
