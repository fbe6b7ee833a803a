"""Assistants whose policy of writing evolves (`memagent.environments.amemgym.assistants.evolution`)."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter

from memagent.environments.amemgym.assistants import snapshot
from memagent.environments.amemgym.assistants.base import BUDGET
from memagent.environments.amemgym.assistants.evolution import Evolution, EvolutionSettings, EvolutionState, Feedback
from memagent.environments.amemgym.assistants.model_writers import FactsByModel, SheetByModel
from memagent.environments.amemgym.assistants.nearness import Nearness
from memagent.environments.amemgym.assistants.window import Schedule
from memagent.environments.amemgym.assistants.windowed import AweAssistant, AwiAssistant, WindowedAssistant
from memagent.environments.amemgym.data import write_json
from memagent.models.base import ChatModel
from memagent.models.structured import UsageCounter
from memagent.retrieval.embedders.base import Embedder

STATE = "evolution_state.json"


class EvolvingAssistant(WindowedAssistant):
    """An assistant that learns what to keep. Its own model rewrites the policy."""

    evolution: Evolution
    writer: SheetByModel | FactsByModel

    def learn(self, given: Feedback) -> bool:
        """Learn from a period's questions, once. Returns whether a step was made. Save the assistant afterwards."""
        tally = UsageCounter()
        try:
            stepped = self.evolution.learn(given, tally=tally)
        finally:
            self.usage += tally.usage
        self.writer.policy = self.evolution.policy
        return stepped

    def save(self, folder: Path) -> None:
        """Write the memory, the window and the state of evolution."""
        super().save(folder)
        write_json(self.evolution.state().model_dump(mode="json"), folder / STATE)

    def load(self, folder: Path) -> None:
        """Go on from a snapshot, with the policy as it was. Raises `InputError`."""
        state = snapshot.read(folder / STATE, TypeAdapter(EvolutionState))
        super().load(folder)
        self.evolution.restore(state)
        self.writer.policy = self.evolution.policy


class EvolvingAwi(EvolvingAssistant, AwiAssistant):
    """A sheet whose categories evolve."""

    def __init__(
        self,
        model: ChatModel,
        settings: EvolutionSettings,
        *,
        name: str = "awi-evolve",
        schedule: Schedule | None = None,
        budget: int = BUDGET,
    ) -> None:
        self.evolution = Evolution(settings, model, SheetByModel.task)
        writer = SheetByModel(model, policy=self.evolution.policy)
        super().__init__(name=name, writer=writer, schedule=schedule, model=model, budget=budget)


class EvolvingAwe(EvolvingAssistant, AweAssistant):
    """Statements that are looked up; what counts as one evolves."""

    def __init__(
        self,
        model: ChatModel,
        settings: EvolutionSettings,
        *,
        embedder: Embedder | None,
        name: str = "rag-evolve",
        schedule: Schedule | None = None,
        budget: int = BUDGET,
    ) -> None:
        self.evolution = Evolution(settings, model, FactsByModel.task)
        nearness = Nearness(embedder)
        writer = FactsByModel(model, nearness, policy=self.evolution.policy)
        super().__init__(name=name, nearness=nearness, writer=writer, schedule=schedule, model=model, budget=budget)
