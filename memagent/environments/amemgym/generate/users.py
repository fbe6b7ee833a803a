"""Who a user is: a profile by template, from which no value of a state variable can be inferred."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from memagent.environments.amemgym.data import UserProfile
from memagent.environments.amemgym.generate.templates import load_profile_words

YOUNGEST, OLDEST = 18, 85
_RETIRED_FROM = 67
_STUDENT_UP_TO = 23
_FIELDS = (
    "name",
    "age",
    "gender",
    "marital_status",
    "education_level",
    "occupation",
    "hobbies_and_interests",
    "skills_and_expertise",
    "complementary_info",
)
"""The lines of `formatted_str`, in order."""
_YEARS = (0, 0, 18, 19, 19, 20, 22, 25, 28)
"""Age from which an education level is likely."""


def draw_profile(uuid: str, rng: Random) -> UserProfile:
    """A profile; the same generator state gives the same one."""
    words = load_profile_words()
    age = rng.randint(YOUNGEST, OLDEST)
    gender = rng.choice(("Female", "Male"))
    first = rng.choice(words["female_names" if gender == "Female" else "male_names"])
    education, occupation, skills = _occupation(age, rng)
    temper, other = rng.sample(words["temperaments"], 2)
    fields: dict[str, str | int] = {
        "name": f"{first} {rng.choice(words['surnames'])}",
        "age": age,
        "gender": gender,
        "marital_status": _marital_status(age, rng),
        "education_level": words["education_levels"][education],
        "occupation": occupation,
        "hobbies_and_interests": ", ".join(rng.sample(words["hobbies"], rng.randint(2, 3))),
        "skills_and_expertise": ", ".join(skills),
        "complementary_info": f"{first} is {temper} and {other}, grew up {rng.choice(words['origins'])}, "
        f"and {rng.choice(words['quirks'])}.",
    }
    return profile_of(uuid, fields)


def profile_of(uuid: str, fields: Mapping[str, str | int]) -> UserProfile:
    formatted = "\n".join(f"{field}: {fields[field]}" for field in _FIELDS)
    return UserProfile.model_validate({"uuid": uuid, **fields, "formatted_str": formatted})


def has_job(profile: UserProfile) -> bool:
    return not profile.occupation.startswith(("retired ", "student"))


def _occupation(age: int, rng: Random) -> tuple[int, str, list[str]]:
    """Education level, occupation and skills that go together at an age."""
    occupations = [one for one in load_profile_words()["occupations"] if age >= _YEARS[one["education"]] + 1]
    picked = rng.choice(occupations)
    reachable = [level for level, years in enumerate(_YEARS) if picked["education"] <= level and age >= years]
    education = min(rng.choice(reachable), picked["education"] + 1)
    if age <= _STUDENT_UP_TO and rng.random() < 0.4:
        return max(2, min(education, 4)), "student", ["Note taking", "Presentations"]
    title = f"retired {picked['title']}" if age >= _RETIRED_FROM else picked["title"]
    return education, title, picked["skills"]


def _marital_status(age: int, rng: Random) -> str:
    never, married, separated, divorced, widowed = load_profile_words()["marital_statuses"]
    if age < 25:
        return str(rng.choices((never, married), (9, 1))[0])
    weights = (3, 5, 1, 2, 1 if age < 60 else 4)
    return str(rng.choices((never, married, separated, divorced, widowed), weights)[0])
