"""Where rollouts come from: the model's own `generate`, vLLM, or a script."""

from memagent_training.engines.base import Completion, Prompt, RolloutEngine
from memagent_training.engines.generate import GenerateEngine
from memagent_training.engines.scripted import ScriptedEngine
from memagent_training.engines.vllm import VllmEngine

ENGINES: dict[str, type[GenerateEngine] | type[VllmEngine]] = {"generate": GenerateEngine, "vllm": VllmEngine}
"""By the names that recipes use; a script is given in Python."""

__all__ = ["ENGINES", "Completion", "GenerateEngine", "Prompt", "RolloutEngine", "ScriptedEngine", "VllmEngine"]
