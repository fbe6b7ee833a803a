"""What only a GPU can show, in one run of at most eight minutes: a verdict a line, and the same as JSON.

python training/scripts/gpu_check.py                  # on a machine with a GPU; vLLM is used where it is installed
python training/scripts/gpu_check.py --stand-in       # what needs vLLM over a stand-in for it
python training/scripts/gpu_check.py --tiny           # everything at tiny size on the CPU, over the stand-in

All models are of random weights, shaped like Qwen2.5-VL: nothing is downloaded. Each line says ok, FAILED or not run, a figure,
and what it is about. What breaks one check is its line; the others go on. The exit status is 1 when a check failed.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # transformers would spread a model over all that it sees

import torch
from transformers import TrainerCallback
from transformers.utils import is_flash_attn_2_available

from memagent.evaluation.report import Report, Row, machine_facts
from memagent_training.engines.base import Completion, Prompt
from memagent_training.estimate import ATTENTION, activation_bytes, update_seconds
from memagent_training.export import export_run
from memagent_training.recipe import Expected, Recipe
from memagent_training.run import build_trainer, save_final, silence_warnings, train, write_recipe
from memagent_training.testing.gpu_bench import FULL, SMALL, Bench, NotRun, Pages, questions
from memagent_training.trainer import MemGRPOTrainer

TFLOPS = {"H200": 989, "H100": 989, "A100": 312, "L40S": 362, "4090": 165, "3090": 71}
"""Dense bfloat16, by a part of a GPU's name, from the data sheets."""


class Watch(TrainerCallback):  # type: ignore[misc]
    """Gradients of the last optimizer step, and the seconds of each."""

    gradient: torch.Tensor
    began: float

    def __init__(self, *, gradients: bool) -> None:
        self.gradients = gradients
        self.seconds: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.began = time.perf_counter()

    def on_pre_optimizer_step(self, *_: Any, model: Any = None, **__: Any) -> None:
        if self.gradients:
            found = [one.grad.flatten().float() for one in model.parameters() if one.grad is not None]
            self.gradient = torch.cat(found).cpu()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - self.began)


class Finding(NamedTuple):
    """What a check found."""

    good: bool
    figure: str
    numbers: dict[str, float]


# -- the checks --------------------------------------------------------------------------------------------------------


def packed_is_padded(bench: Bench, *, attn: str) -> Finding:
    """One update of rows end to end against one of rows side by side: float32, and bfloat16 for FlashAttention."""
    flash = attn != "sdpa"
    if flash and (bench.cpu or not is_flash_attn_2_available()):
        raise NotRun("there is no GPU" if bench.cpu else "flash-attn is not installed")
    losses, gradients = [], []
    for layout in ("padded", "packed"):
        model, processing = bench.model(bench.sizes.small)
        model.to(torch.bfloat16 if flash else torch.float32)
        model.set_attn_implementation(attn if layout == "packed" else "sdpa")
        watch = Watch(gradients=True)
        parts = {"layout": layout, "token_budget": 8192, "callbacks": [watch]}
        trainer = bench.scripted(f"{layout}-{attn}", (model, processing), parts=parts, entropy_coef=0.05)
        losses.append(float(trainer.train().training_loss))
        gradients.append(watch.gradient)
    apart = abs(losses[0] - losses[1])
    turned = float((gradients[0] - gradients[1]).norm() / gradients[0].norm())
    figure = f"loss {losses[0]:.5f} padded, {losses[1]:.5f} packed; gradients differ by {turned:.1e} of their norm"
    bounds = (2e-2, 5e-2) if flash else (1e-4, 1e-3)
    return Finding(apart < bounds[0] and turned < bounds[1], figure, {"loss_gap": apart, "gradient_gap": turned})


def one_step(bench: Bench) -> Finding:
    """Full training in bfloat16 passes with float32 weights; the last of three steps is timed."""
    sizes = bench.sizes
    model, processing = bench.model(sizes.large)
    weights = model.num_parameters()
    before = model.lm_head.weight.detach().clone()
    if not bench.cpu:
        torch.cuda.reset_peak_memory_stats()
    watch = Watch(gradients=False)
    # the optimizer of recipes
    settings = {"max_steps": 3, "bf16": not bench.cpu, "activation_checkpointing": True, "optim": "adamw_torch"}
    parts = {"token_budget": sizes.budget, "callbacks": [watch]}
    trainer = bench.scripted("step", (model, processing), parts=parts, **settings)
    trainer.train()
    moved = not torch.equal(before, trainer.model.lm_head.weight) and bool(torch.isfinite(trainer.model.lm_head.weight).all())
    line = [one for one in trainer.state.log_history if "rows/tokens" in one][-1]
    seconds = watch.seconds[-1] - line["time/rollout"] - line["time/score"]
    numbers = {"weights": float(weights), "update_s": seconds, "tokens": float(line["rows/tokens"])}
    told = f"{weights / 1e6:,.2f} M weights, {line['rows/tokens']:,.0f} tokens in {seconds:.2f} s"
    if bench.cpu:
        return Finding(moved, f"{told}; memory is not measured on a CPU", numbers)
    peak, memory = torch.cuda.max_memory_allocated(), 16 * weights + sum(activation_bytes(sizes.large, sizes.budget))
    numbers |= {"peak_bytes": float(peak), "estimate_bytes": memory}
    told += f"; peak {peak / 1e9:.1f} GB, by estimate {memory / 1e9:.1f}"
    good = moved and 0.6 < peak / memory < 1.6
    tflops = next((found for name, found in TFLOPS.items() if name in torch.cuda.get_device_name()), None)
    if tflops is None:
        return Finding(good, f"{told}; no data sheet of {torch.cuda.get_device_name()} to compare seconds with", numbers)
    # of these only `tflops` is looked at
    machine = Expected(gpus=1, memory_gb=1, tflops=tflops, tokens_per_s=1, chunks=1, draft_tokens=1, answer_tokens=1)
    arithmetic = ATTENTION * update_seconds(sizes.large.active, numbers["tokens"], machine, adapters=False, further_passes=1)
    numbers["estimate_s"] = arithmetic
    told += f"; seconds by estimate {arithmetic:.2f} (at {machine.efficiency:.0%} of {tflops:g} TFLOPS)"
    return Finding(good and seconds < 5 * arithmetic, told, numbers)


def exported(bench: Bench) -> Finding:
    """A step of a recipe, its policy exported as bfloat16 and loaded again, and the stored prompt scored by both."""
    tasks = bench.folder / "tasks.jsonl"
    tasks.write_text("".join(json.dumps(row | {"answer": "x"}) + "\n" for row in questions(bench.sizes)), "utf-8")
    recipe = Recipe.model_validate(
        {
            "name": "check",
            "policy": {"kind": "pretrained", "path": str(bench.saved()), "vision": True, "dtype": "float32"},
            "task": {"kind": "file", "path": str(tasks)},
            "objective": {"max_tokens": 8},
            "baseline": {"kind": "v05"},  # with this prior answers that are all wrong teach something
            "prior": {"kind": "constant", "constant": 1.0},
            "rollouts": {"prompts": 2, "group_size": 2},
            "optimizer": {"steps": 1, "learning_rate": 1e-4},
            "save_every": 1,
            "trl": {"use_cpu": bench.cpu},
        }
    )
    run = bench.folder / "run"
    trainer = build_trainer(recipe, run, quiet=True)
    write_recipe(recipe, run)
    train(trainer)
    save_final(trainer, recipe)
    gap = export_run(run, bench.folder / "model").gap
    if gap is None:
        return Finding(False, "no prompt was stored with the weights", {})
    return Finding(True, f"log-probabilities of a stored prompt differ by {gap:.1e} a token", {"gap": gap})


def picture_prompt(bench: Bench, *, pictures: int) -> Finding:
    """The tokens of a prompt as vLLM read it."""
    trainer = bench.sampling()
    prompt, _ = sampled(trainer, 0, pictures=pictures)
    visual = sum(length for _, length in prompt.places)
    return Finding(visual > 0, f"{len(prompt.ids)} tokens on both sides, {visual} of pictures", {"tokens": float(visual)})


def sampled(trainer: MemGRPOTrainer, version: int, *, pictures: int = 1) -> tuple[Prompt, Completion]:
    """A prompt and the answer under the weights of `version`; that both sides read the same ids is checked by the engine."""
    assert isinstance(trainer.objective, Pages)
    request = trainer.objective.request(questions(trainer.objective.sizes)[0]["prompt"], pictures)
    prompt = replace(trainer.policy_tokenizer.encode(request), max_tokens=request.max_tokens, seed=7, role=request.role)
    with trainer.engine.batch(version):
        [said] = trainer.engine.generate([prompt], seed=0)  # type: ignore[union-attr]
    return prompt, said


def gap_by_role(bench: Bench) -> Finding:
    """One step whose rollouts vLLM samples; the update's own forward pass scores the same tokens."""
    trainer = bench.sampling()
    trainer.train()
    [line] = [one for one in trainer.state.log_history if "sampler/gap_max" in one]
    gaps = {role: float(line[f"sampler/gap_abs_{role}"]) for role in Pages.roles}
    told = ", ".join(f"{role} {gap:.4f}" for role, gap in gaps.items())
    return Finding(max(gaps.values()) < 0.1, f"{told} nats a token", {f"gap_{role}": gap for role, gap in gaps.items()})


def slept(bench: Bench) -> Finding:
    """The same request before and after a sleep that throws the weights away, then with other adapters."""
    trainer = bench.sampling()
    first, free = sampled(trainer, 1)[1], 0 if bench.cpu else torch.cuda.mem_get_info()[0]
    again = sampled(trainer, 2)[1]
    with trainer.engine.batch(2):
        back = 0 if bench.cpu else free - torch.cuda.mem_get_info()[0]
    for name, weight in trainer.model.named_parameters():
        if "lora_" in name:
            weight.data.mul_(-2.0)
    other = sampled(trainer, 3)[1]
    differ = sum(one != two for one, two in zip(first.ids, again.ids, strict=False)) + abs(len(first.ids) - len(again.ids))
    felt = (other.ids, other.logprobs) != (again.ids, again.logprobs)
    memory = "" if bench.cpu else f"; {back / 1e9:.1f} GB are free while it sleeps"
    told = f"{differ} of {len(first.ids)} tokens differ after a sleep; new adapters are {'' if felt else 'not '}felt{memory}"
    return Finding(differ == 0 and felt, told, {"differ": float(differ), "freed_bytes": float(back)})


def base_weights(bench: Bench) -> Finding:
    """The weights under the adapters before and after many syncs, each of which merges and takes off again."""
    trainer = bench.sampling()
    base = {name: one.detach().clone() for name, one in trainer.model.named_parameters() if "lora_" not in name}
    for version in range(bench.sizes.syncs):
        with trainer.engine.batch(1000 + version):
            pass
    now = dict(trainer.model.named_parameters())
    changed = [name for name, one in base.items() if not torch.equal(one, now[name])]
    told = f"{len(changed)} of {len(base)} weights differ after {bench.sizes.syncs} syncs"
    return Finding(not changed, told, {"changed": float(len(changed))})


class Check(NamedTuple):
    """A line of the table."""

    name: str
    meaning: str
    find: Callable[[Bench], Finding]


PACKED = "rows without padding train as rows with it, so that rows.layout is a matter of speed"
READ = "vLLM reads the picture as long as the trainer does; else its text answers another prompt"
CHECKS = (
    Check("packed, sdpa", PACKED, partial(packed_is_padded, attn="sdpa")),
    Check("packed, flash_attention_2", PACKED, partial(packed_is_padded, attn="flash_attention_2")),
    Check("optimizer step", "what `--dry-run` tells of memory and time is of this order", one_step),
    Check("export", "the files hold the policy that was trained", exported),
    Check("prompt, 1 picture", READ, partial(picture_prompt, pictures=1)),
    Check("prompt, 2 pictures", READ, partial(picture_prompt, pictures=2)),
    Check("gap by role", "above 0.1 the sampler reads other prompts or has other weights", gap_by_role),
    Check("sleep and wake", "vLLM comes back with the adapters' weights", slept),
    Check("base weights", "sending adapters leaves the weights under them as they were, to the bit", base_weights),
)
"""vLLM's come last: it keeps its share of the GPU."""


# -- running them ------------------------------------------------------------------------------------------------------


class Verdict(NamedTuple):
    """What is printed, and what is written."""

    check: str
    status: Literal["ok", "FAILED", "not run"]
    figure: str
    meaning: str
    numbers: dict[str, float]
    seconds: float


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raises `TimeoutError` in what takes longer."""

    def ring(*_: object) -> None:
        raise TimeoutError(f"stopped after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def judged(check: Check, bench: Bench, *, left: float) -> Verdict:
    """Make a check within `left` seconds; whatever it raises is its verdict."""
    began = time.perf_counter()
    numbers: dict[str, float] = {}
    status: Literal["ok", "FAILED", "not run"] = "not run"
    try:
        if left <= 0:
            raise NotRun("the time is up")
        with at_most(left):
            good, figure, numbers = check.find(bench)
        status = "ok" if good else "FAILED"
    except NotRun as error:
        figure = str(error)
    except (Exception, SystemExit) as error:
        traceback.print_exc(file=sys.stderr)
        status, figure = "FAILED", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    if not bench.cpu:  # the next check is to find the memory free
        gc.collect()
        torch.cuda.empty_cache()
    return Verdict(check.name, status, figure, check.meaning, numbers, time.perf_counter() - began)


def report(verdicts: Sequence[Verdict], *, cpu: bool) -> Report:
    """The verdicts in the shape of all reports."""
    rows = [Row(method=one.check, metric=name, value=value) for one in verdicts for name, value in one.numbers.items()]
    device = "cpu" if cpu else torch.cuda.get_device_name()
    told = [{key: value for key, value in one._asdict().items() if key != "numbers"} for one in verdicts]
    return Report(name="gpu_check", rows=rows, meta={**machine_facts(), "device": device, "checks": told})


def main(argv: list[str] | None = None, *, checks: Sequence[Check] = CHECKS) -> int:
    """Make all checks; returns 1 when one failed, 2 where there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="at tiny size on the CPU, with --stand-in")
    parser.add_argument("--stand-in", action="store_true", help="what needs vLLM over a stand-in for it")
    parser.add_argument("--minutes", type=float, default=8.0, help="what is not done by then is not run (8)")
    parser.add_argument("--out", type=Path, default=Path("out/gpu-check"), help="folder of gpu_check.json (out/gpu-check)")
    options = parser.parse_args(argv)
    if not options.tiny and not torch.cuda.is_available():
        print("there is no GPU that torch can use; --tiny checks everything at tiny size on the CPU", file=sys.stderr)
        return 2

    silence_warnings()
    end = time.perf_counter() + 60 * options.minutes
    verdicts = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        sizes = SMALL if options.tiny else FULL
        bench = Bench(sizes, Path(folder), cpu=options.tiny, stand_in=options.stand_in or options.tiny, stack=stack)
        for check in checks:
            verdicts.append(judged(check, bench, left=end - time.perf_counter()))
            one = verdicts[-1]
            print(f"{one.status:<8} {one.check:<26} {one.figure} ({one.meaning})", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "gpu_check.json"
    path.write_text(report(verdicts, cpu=options.tiny).model_dump_json(indent=1) + "\n", "utf-8")
    print(f"written: {path}", file=sys.stderr)
    return int(any(one.status == "FAILED" for one in verdicts))


if __name__ == "__main__":
    sys.exit(main())
