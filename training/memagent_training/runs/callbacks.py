"""What watches a run: the log with its table and picture, the record of rollouts, and the guard of empty batches.

`metrics.jsonl` and `rollouts.jsonl` are the records; a resumed run first takes off the lines beyond its checkpoint, so that
every step is there once. `training.png` shows reward, entropy, KL and rollouts per prompt.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback

from memagent_training.grpo.rollout import Rollout
from memagent_training.rollouts.rollout_file import batch_lines, first_line

COLUMNS = (
    "reward",
    "reward_by_prompt",
    "entropy",
    "kl",
    "rollouts/total",
    "rollouts/dead_share",
    "loss",
    "grad_norm",
    "step_time",
)


class BatchSource(Protocol):
    """What the callbacks look at: a `MemGRPOTrainer`."""

    rollouts: list[Rollout]
    """Of the last batch that was trained on."""
    drawn: list[str]
    """Ids of the prompts that were drawn for it."""
    batch_made: int
    """Its number."""
    skip_update: bool
    """Whether that batch had nothing to train on."""
    optimizer: Any


class Monitor(TrainerCallback):  # type: ignore[misc]
    """Writes `metrics.jsonl` and `training.png` into `folder` and a line a log step to stdout."""

    def __init__(self, folder: Path, *, quiet: bool = False, plot_every: int = 0) -> None:
        self.path = folder / "metrics.jsonl"
        self.quiet = quiet
        self.plot_every = plot_every
        """Log steps between two drawings of the picture; 0: at the end only."""
        self._head = False
        self._bar: Progress | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Forget what a killed run logged beyond its checkpoint."""
        if not state.is_world_process_zero:
            return
        keep_until(self.path, state.global_step)
        if not self.quiet:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            watched = sys.stderr.isatty()  # hidden where nobody watches; the table stays on stdout when it is piped
            self._bar = Progress(*columns, console=Console(stderr=watched), transient=True, disable=not watched)
            self._bar.add_task("training", total=state.max_steps, completed=state.global_step)
            self._bar.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Move the bar; the last step is always logged."""
        if state.global_step >= state.max_steps:
            control.should_log = True
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Record and print the numbers of a log step."""
        if not state.is_world_process_zero or not logs or "train_runtime" in logs:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": state.global_step, **logs}) + "\n")
        if not self.quiet:
            self._print(state.global_step, logs)
        if self.plot_every and state.global_step % (self.plot_every * max(1, args.logging_steps)) == 0:
            plot(read_metrics(self.path), self.path.with_name("training.png"))

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Draw the picture."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if state.is_world_process_zero:
            plot(read_metrics(self.path), self.path.with_name("training.png"))

    def _print(self, step: int, logs: dict[str, float]) -> None:
        console = self._bar.console if self._bar is not None else Console()
        if not self._head:
            console.out(
                " ".join(f"{name.rsplit('/')[-1].removeprefix('reward_'):>10}" for name in ("step", *COLUMNS)), highlight=False
            )
            self._head = True
        cells = [logs.get(name) for name in COLUMNS]
        console.out(
            " ".join([f"{step:>10}", *(f"{'':>10}" if one is None else f"{one:>10.4g}" for one in cells)]), highlight=False
        )


class SkipEmptyBatches(TrainerCallback):  # type: ignore[misc]
    """Takes the gradients away before an optimizer step of an empty batch: optimizers pass over parameters without one.

    A batch with nothing to train on must move nothing, neither by weight decay nor by what Adam remembers.
    """

    def __init__(self, trainer: BatchSource) -> None:
        self.trainer = trainer

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called after gradient clipping, before the step."""
        if self.trainer.skip_update and self.trainer.optimizer is not None:
            self.trainer.optimizer.zero_grad(set_to_none=True)


class RolloutLog(TrainerCallback):  # type: ignore[misc]
    """Writes the rollouts that are trained on to `rollouts.jsonl` in `folder`, as `rollouts.rollout_file` describes: enough to
    recompute every statistic of a run, and to train on them again (engine `replay`).

    `made_by` says what the rollouts follow from (`run.made_by`).
    """

    def __init__(self, trainer: BatchSource, folder: Path, *, made_by: Mapping[str, Any] | None = None) -> None:
        self.trainer = trainer
        self.path = folder / "rollouts.jsonl"
        self.made_by = made_by or {}
        self._written: list[Rollout] | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Forget what a killed run wrote beyond its checkpoint."""
        if not state.is_world_process_zero:
            return
        keep_until(self.path, state.global_step)
        if not self.path.stat().st_size:
            self.path.write_text(first_line(self.made_by), "utf-8")
        self._written = self.trainer.rollouts

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write the batch that this optimizer step was the first to use. `step` is that step."""
        rollouts = self.trainer.rollouts
        if rollouts is self._written or not state.is_world_process_zero:
            return
        self._written = rollouts
        lines = batch_lines(rollouts, step=state.global_step, batch=self.trainer.batch_made, drawn=self.trainer.drawn)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(lines)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl`; a last line that a killed process left half-written is not among them."""
    if not path.exists():
        return []
    lines = []
    for line in path.read_text("utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines


def keep_until(path: Path, step: int) -> None:
    """Leave only the whole lines of a JSON-lines file whose `step` is not beyond `step`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    end = 0
    with path.open("r+b") as file:
        for line in file:
            if not line.endswith(b"\n") or not _reaches(line, step):
                break
            end += len(line)
        file.truncate(end)


def _reaches(line: bytes, step: int) -> bool:
    """Whether a line is whole and not beyond `step`."""
    try:
        return bool(json.loads(line)["step"] <= step)
    except ValueError:
        return False


def plot(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw reward, entropy, KL and rollouts per prompt over the steps."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(2, 2, figsize=(9, 6), layout="constrained")
    shown = (
        ("reward", {"reward": "by rollout", "reward_by_prompt": "by prompt"}),
        ("entropy", {"entropy": ""}),
        ("kl", {"kl": ""}),
    )
    for panel, (title, names) in zip(panels.flat, shown, strict=False):
        _plot_curves(panel, lines, names)
        panel.set_title(title)
        panel.set_xlabel("step")
    _plot_rollouts(panels.flat[3], lines)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _plot_curves(panel: Any, lines: Sequence[dict[str, Any]], names: dict[str, str]) -> None:
    """One curve for each name that was logged; `names` gives their labels, "" for none."""
    for name, label in names.items():
        points = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
        if points:
            panel.plot(*zip(*points, strict=True), linewidth=1.2, label=label)
    if not panel.lines:
        panel.text(0.5, 0.5, "not measured in this run", ha="center", transform=panel.transAxes)
    elif len(names) > 1:
        panel.legend(fontsize=8)


def _plot_rollouts(panel: Any, lines: Sequence[dict[str, Any]]) -> None:
    """Mean rollouts per prompt within the band from the fewest to the most."""
    steps = [line["step"] for line in lines if "rollouts/mean" in line]
    low, mean, high = (
        [line[f"rollouts/{name}"] for line in lines if "rollouts/mean" in line] for name in ("min", "mean", "max")
    )
    panel.fill_between(steps, low, high, alpha=0.25, label="fewest to most")
    panel.plot(steps, mean, linewidth=1.2, label="mean")
    panel.set_title("rollouts per prompt")
    panel.set_xlabel("step")
    panel.legend(fontsize=8)
