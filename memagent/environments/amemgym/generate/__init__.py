"""Users: environments of the official form, made from a bank of words and a seed without any model, or `by_model`.

The bank must stay out of reach of what is measured with it: no memory and no drafter imports this package.
"""

from memagent.environments.amemgym.generate.pipeline import GENERATOR_VERSION, generate_user, generate_users, user_id
from memagent.environments.amemgym.generate.presets import PRESETS, GeneratorSettings, preset, settings_from
from memagent.environments.amemgym.generate.value_matcher import ValueMatcher
from memagent.environments.amemgym.generate.working_files import write_raw

__all__ = [
    "GENERATOR_VERSION",
    "PRESETS",
    "GeneratorSettings",
    "ValueMatcher",
    "generate_user",
    "generate_users",
    "preset",
    "settings_from",
    "user_id",
    "write_raw",
]
