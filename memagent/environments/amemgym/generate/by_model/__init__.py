"""Users written by a language model, step by step; each answer is checked, and so is what a reader makes of each text.

The steps are those of the paper (arXiv 2603.01966, section 3.1 and appendix C.3), with stricter checks: profile; questions,
merging of their variables, one list of values for each; initial state; changes of each period and the events behind them;
answer options with a reader's check of each; first utterances of the sessions with a reader's check of each; their times.
"""

from memagent.environments.amemgym.generate.by_model.personas import Persona, load_personas
from memagent.environments.amemgym.generate.by_model.run import GeneratedUser, Generation, generate_by_model

__all__ = [
    "GeneratedUser",
    "Generation",
    "Persona",
    "generate_by_model",
    "load_personas",
]
