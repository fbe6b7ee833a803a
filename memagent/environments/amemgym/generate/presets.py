"""What shapes a generated data set: the official configuration keys, and the two published settings.

Keys of the official files that concern models only are accepted and ignored here, so that such a file can be given as it
is. What cannot be met is refused when the settings are built, not at the user with whom it fails.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from memagent.environments.amemgym.data import wrong_places
from memagent.errors import InputError, UnknownName

_SHORTEST_MONTH = 28
_IGNORED = frozenset({"llm_config_high_temp", "llm_config_low_temp"})
"""May hold keys to services: never written, and without influence on procedural users."""


class GeneratorSettings(BaseModel):
    """The official environment configuration; the defaults are those of v1.base."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start_date: date = date(2020, 10, 1)
    lang: Literal["en", "zh"] = "en"
    """The procedural bank is written in English only."""
    num_user_profiles: int = Field(default=20, ge=1)
    num_questions: int = Field(default=10, ge=1)
    num_periods: int = Field(default=10, ge=1)
    """Update periods; there is one evaluation position more, the start."""
    num_months_per_period: int = Field(default=3, ge=1)
    num_states_per_question: int = Field(default=2, ge=1, le=3)
    num_choices_per_state: int = Field(default=3, ge=2, le=3)
    num_changes_per_period: int = Field(default=4, ge=1)
    """Target of changed variables; one more or less is drawn."""
    max_changes_per_state: int = Field(default=3, ge=1)
    """Hard, unless too few variables are left: then it is exceeded, and the item says how often."""
    min_state_variants: int = Field(default=4, ge=2)
    """Answer options that a question has at least."""
    num_rounds_init: int = Field(default=1, ge=1)
    num_rounds_update: int = Field(default=2, ge=1)
    llm_config_high_temp: dict[str, Any] | None = Field(default=None, repr=False)
    llm_config_low_temp: dict[str, Any] | None = Field(default=None, repr=False)
    exclude_ids: tuple[str, ...] = ()
    """Users left out; the next ones take their places."""
    seed: int = 42

    @model_validator(mode="after")
    def _feasible(self) -> GeneratorSettings:
        product = self.num_choices_per_state**self.num_states_per_question
        if self.min_state_variants > product:
            raise ValueError(
                f"min_state_variants is {self.min_state_variants}, but {self.num_states_per_question} variables of "
                f"{self.num_choices_per_state} values have only {product} variants; lower it"
            )
        days = _SHORTEST_MONTH * self.num_months_per_period
        if self.num_changes_per_period + 1 > days:
            raise ValueError(f"num_changes_per_period is {self.num_changes_per_period}; a period may have {days - 1} at most")
        return self

    @property
    def fewest_changes(self) -> int:
        """Least changed variables of a period; a period without any would have no conversation."""
        return max(1, self.num_changes_per_period - 1)

    @property
    def most_changes(self) -> int:
        return self.num_changes_per_period + 1

    def fingerprint(self) -> str:
        """Equal for settings that give the same users from the same seed."""
        said = self.model_dump(mode="json", exclude={*_IGNORED, "exclude_ids", "seed", "num_user_profiles"})
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]


PRESETS: Mapping[str, GeneratorSettings] = MappingProxyType(
    {
        "v1.base": GeneratorSettings(),
        "v1.extra": GeneratorSettings(num_periods=20, num_states_per_question=3, num_rounds_init=2, num_rounds_update=5),
    }
)
"""The published settings by name."""


def preset(name: str) -> GeneratorSettings:
    """The published settings of a name. Raises `UnknownName`."""
    if name not in PRESETS:
        raise UnknownName(f"there is no preset {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]


def settings_from(values: Mapping[str, Any]) -> GeneratorSettings:
    """Settings of a configuration that was read from a file. Raises `InputError` naming the key."""
    try:
        return GeneratorSettings.model_validate(dict(values))
    except ValidationError as error:
        raise InputError(f"{wrong_places(error)}; the keys are {', '.join(GeneratorSettings.model_fields)}") from None
