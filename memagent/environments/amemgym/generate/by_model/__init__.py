"""Users written by a language model, step by step; each answer is checked, and so is what a reader makes of each text."""

from memagent.environments.amemgym.generate.by_model.personas import Persona, load_personas
from memagent.environments.amemgym.generate.by_model.run import GeneratedUser, Generation, generate_by_model

__all__ = [
    "GeneratedUser",
    "Generation",
    "Persona",
    "generate_by_model",
    "load_personas",
]
