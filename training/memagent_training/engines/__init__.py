"""Where rollouts come from: the model's own `generate`, vLLM here or on servers, a script, or a log."""

from memagent_training.engines.base import Completion, Prompt, RequestEngine, RolloutEngine, RoundEngine, SamplingEngine
from memagent_training.engines.generate import GenerateEngine
from memagent_training.engines.http import HttpEngine
from memagent_training.engines.replay import ReplayEngine
from memagent_training.engines.scripted import ScriptedEngine
from memagent_training.engines.vllm import VllmEngine

ENGINES: dict[str, type[GenerateEngine] | type[HttpEngine] | type[ReplayEngine] | type[VllmEngine]] = {
    "generate": GenerateEngine,
    "vllm": VllmEngine,
    "http": HttpEngine,
    "replay": ReplayEngine,
}
"""By the names that recipes use; a script is given in Python."""

__all__ = [
    "ENGINES",
    "Completion",
    "GenerateEngine",
    "HttpEngine",
    "Prompt",
    "ReplayEngine",
    "RequestEngine",
    "RolloutEngine",
    "RoundEngine",
    "SamplingEngine",
    "ScriptedEngine",
    "VllmEngine",
]
