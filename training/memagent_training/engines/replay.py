"""Trains again on rollouts that another run wrote down: nothing is sampled, and what was random there is not here.

The run has the recipe of the one that wrote them, but for what happens after the rollouts: loss, credit, baseline, prior,
optimizer and layout may be others. With the same ones its rows and weights are those of a run that rolled out in step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from memagent.errors import ConfigError, EngineError
from memagent_training.engines.base import Completion, PolicyHost, Prompt, WithoutTrlsVllm
from memagent_training.grpo.rollout import Group
from memagent_training.rollouts.rollout_file import RolloutFile


@dataclass(kw_only=True)
class ReplayEngine(WithoutTrlsVllm):
    """The rollouts of `log`, batch by batch."""

    name: ClassVar[str] = "replay"
    log: str = ""
    """`rollouts.jsonl` of a run with --log-rollouts, or the run's folder."""
    # without a default, so that it is no setting of a recipe
    _file: RolloutFile = field(init=False, repr=False, compare=False)
    _words: int = field(init=False, repr=False, compare=False)
    """Tokens that the policy knows."""

    def available(self) -> str | None:
        """Why the log cannot be read, None where it can."""
        try:
            self._opened()
        except ConfigError as error:
            return str(error)
        return None

    def check(self, *, use_vllm: bool, adapters: bool) -> None:
        """Raises `ConfigError` where vLLM would be set up for nothing, and without a log."""
        super().check(use_vllm=use_vllm, adapters=adapters)
        if not self.log:
            raise ConfigError(
                'engine "replay" needs engine.log: the folder of a run that was made with --log-rollouts, or its rollouts.jsonl'
            )

    def check_made_by(self, settings: Mapping[str, Any]) -> None:
        """Raises `ConfigError` where the log says that it was made with other settings; they are by place in the recipe."""
        file = self._opened()
        for place, here in settings.items() if file.made_by else ():
            if (there := file.made_by.get(place)) != here:
                raise ConfigError(
                    f"engine.log: `{file.path}` was made with {place} = {there!r}, and here it is {here!r}; replay with the "
                    "settings that made it (`recipe.json` beside the log)"
                )

    def start(self, host: PolicyHost) -> None:
        """Open the log. Raises `ConfigError` as `check` does, and where it cannot be read."""
        self.check(use_vllm=host.use_vllm, adapters=False)
        self._words = host.model.get_input_embeddings().weight.shape[0]
        self._file = self._opened()

    def batch(self, version: int) -> AbstractContextManager[None]:
        """Nothing to set up."""
        return nullcontext()

    def groups(self, number: int, *, drawn: Sequence[str]) -> list[Group]:
        """What was trained on in generation batch `number`, whose prompts are `drawn`.

        Raises `EngineError` where the log does not have it, or has what this policy cannot have said.
        """
        groups = self._file.batch(number, drawn=drawn)
        for rollout in (one for group in groups for one in group):
            most = max((max((*one.prompt_ids, *one.ids)) for one in rollout.segments), default=0)
            if most >= self._words:
                raise EngineError(
                    f"rollout `{rollout.id}` of `{self._file.path}` has token {most}, and the policy knows "
                    f"{self._words}; replay with the policy that made the log"
                )
        return groups

    def generate(self, prompts: Sequence[Prompt], *, seed: int) -> list[Completion]:
        """Raises `EngineError`: nobody answers."""
        raise EngineError("a log of rollouts answers no new prompt: leave evaluation out, or use another engine")

    def _opened(self) -> RolloutFile:
        path = Path(self.log)
        return RolloutFile(path / "rollouts.jsonl" if path.is_dir() else path)
