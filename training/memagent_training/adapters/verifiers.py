"""Our episodes as a taskset and a harness of verifiers v1 (verifiers 0.4.0), and so for prime-rl.

The harness runs the episode in its own process: each request is one chat completion at the rollout's endpoint, a conversation
of its own, so a trace branches where an episode begins anew, and each branch is a training sample. What the episode ends with
is in `trace.info["memagent"]`. Its rewards are rewards of the trace by their keys; where the objective names one that counts
(`primary`), the others are metrics.

verifiers finds plug-ins by a module of one name, which exports one class of each kind:

    # my_tasks.py
    from memagent_training.adapters.verifiers import MemagentHarness, MemagentTaskset
    __all__ = ["MemagentHarness", "MemagentTaskset"]
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from memagent.errors import MissingExtra, ModelError
from memagent.models.openai_compatible import OpenAICompatibleModel
from memagent_training.adapters.episodes import Attempt, Episodes
from memagent_training.recipe import load_recipe
from memagent_training.tasks.base import Row

try:
    from verifiers import v1 as vf
    from verifiers.v1.runtimes import ProgramResult
except ImportError as error:
    raise MissingExtra("verifiers", "pip install 'verifiers>=0.4', in an environment of its own") from error

NOTES = "memagent"
"""Where `trace.info` has what an episode ended with."""


class MemagentTasksetConfig(vf.TasksetConfig):  # type: ignore[misc]
    """Which tasks: those of a recipe."""

    recipe: str = "demo"
    """Its name, or a file."""
    tasks: int = 64
    split: str = "train"


class MemagentData(vf.TaskData):  # type: ignore[misc]
    """A task, and the recipe whose objective says how an attempt at it goes."""

    recipe: str
    row: dict[str, Any]


def data_of(recipe: str, row: Row) -> MemagentData:
    """A row as verifiers carries it. It wants a prompt to begin with; what the policy is asked is up to the episode."""
    prompt = str(row.get("prompt") or row.get("question") or row["id"])
    return MemagentData(id=str(row["id"]), prompt=prompt, recipe=recipe, row=dict(row))


class MemagentTask(vf.Task[MemagentData]):  # type: ignore[misc]
    """Scored by what the episode ended with."""

    @vf.reward  # type: ignore[untyped-decorator]
    async def rewards(self, trace: Any) -> dict[str, float]:
        """The rewards that count, by key."""
        return _split(self.data.recipe, trace)[0]

    @vf.metric  # type: ignore[untyped-decorator]
    async def others(self, trace: Any) -> dict[str, float]:
        """The other rewards, by key, and how many replies were given."""
        return _split(self.data.recipe, trace)[1]


class MemagentTaskset(vf.Taskset[MemagentTask, MemagentTasksetConfig]):  # type: ignore[misc]
    """The tasks of a recipe."""

    def load(self) -> Iterable[MemagentTask]:
        """One task for each row. Raises `ConfigError` for a recipe that there is not, `InputError` for a split."""
        config = self.config
        found = Episodes.of(load_recipe(config.recipe), tasks=config.tasks)
        for row in found.rows(config.split):
            yield MemagentTask(data_of(config.recipe, row), config.task)


class MemagentHarness(vf.Harness[vf.HarnessConfig]):  # type: ignore[misc]
    """Drives the episode, and leaves model calls to the rollout's endpoint."""

    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: Any,
        trace: Any,
        runtime: Any,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: MemagentData,
    ) -> ProgramResult:
        """Run the episode to its end; what the world failed ends with exit code 1, so that it is no sample."""
        attempt = Attempt(_episodes(data.recipe).objective, data.row, seed=int(trace.id, 16))
        model = OpenAICompatibleModel(ctx.model, base_url=endpoint, api_key=secret, sees_images=True)
        while attempt.request is not None:
            asked = attempt.request
            try:
                reply = await model.agenerate(asked.messages, max_tokens=asked.max_tokens, temperature=asked.temperature)
            except ModelError as error:
                attempt.fail(error)
            else:
                attempt.reply(reply.text, cut=reply.stop_reason == "length")
        assert attempt.result is not None
        end = attempt.result
        trace.info[NOTES] = {
            "rewards": end.rewards,
            "turn_rewards": list(end.turn_rewards),
            "correct": end.correct,
            "valid": end.valid,
            "turns": attempt.turns,
        }
        return ProgramResult(1, "", attempt.failed) if attempt.failed else ProgramResult(0, end.answer or "", "")


@cache
def _episodes(recipe: str) -> Episodes:
    return Episodes.of(load_recipe(recipe), tasks=1)


def _split(recipe: str, trace: Any) -> tuple[dict[str, float], dict[str, float]]:
    """The rewards of a trace that count, and the other numbers."""
    notes, primary = trace.info[NOTES], _episodes(recipe).objective.gives.primary
    counted = {key: value for key, value in notes["rewards"].items() if primary in (None, key)}
    others = {key: value for key, value in notes["rewards"].items() if key not in counted}
    return counted, {**others, "turns": float(notes["turns"])}
