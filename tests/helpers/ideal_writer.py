"""A fake model that writes AMemGym users as a perfect one would, out of the bank, and one that spoils an answer.

It keeps nothing between calls but counts: every answer follows from the prompt alone, as parsed from its tags.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any

from memagent.environments.amemgym.estimate import generation_calls
from memagent.environments.amemgym.generate import GeneratorSettings, ValueMatcher, generate_user, settings_from
from memagent.environments.amemgym.generate.by_model import Generation, generate_by_model
from memagent.environments.amemgym.generate.sessions import as_event
from memagent.environments.amemgym.generate.templates import load_bank, phrasings
from memagent.models.base import ChatModel, Request
from memagent.models.concurrency import CallPool
from memagent.models.fake import Fake

_BLOCK = re.compile(r"^<(\w+)>\n(.*?)\n</\1>$", re.DOTALL | re.MULTILINE)
_COUNT = re.compile(r"exactly (\d+) properties get")
_KNOWN = load_bank().variables
SMALL = settings_from({"num_questions": 4, "num_periods": 3, "num_changes_per_period": 2})
"""Eight variables, three periods."""


def written(
    model: ChatModel, out: Path, *, n: int = 1, settings: GeneratorSettings = SMALL, concurrency: int = 1
) -> Generation:
    return generate_by_model(model, out, settings=settings, n=n, limit=CallPool(concurrency))


def extra_calls(found: Generation) -> int:
    """Calls beyond those that a perfect model makes."""
    return sum(one.usage.calls - generation_calls(one.item) for one in found.users if one.item)


@lru_cache(maxsize=1)
def matcher() -> ValueMatcher:
    """Of the whole bank."""
    return ValueMatcher()


def blocks_of(request: Request) -> dict[str, Any]:
    """What stands between the tags of a prompt, JSON parsed."""
    found = dict(_BLOCK.findall(request.messages[0].text))
    return {tag: json.loads(text) if text.startswith(("{", "[")) else text for tag, text in found.items()}


class GoodWriter(Fake):
    """Answers every step of the pipeline properly."""

    def __init__(self, settings: GeneratorSettings = SMALL) -> None:
        super().__init__("good-writer")
        self._settings = settings
        self.steps: Counter[str] = Counter()
        """Calls by the name of the form that was asked for."""
        self._counting = Lock()

    def _say(self, request: Request) -> str:
        assert request.schema is not None
        form = request.schema.__name__
        with self._counting:  # users are written side by side
            self.steps[form] += 1
        return self.say(form, blocks_of(request), request)

    def say(self, form: str, given: dict[str, Any], request: Request) -> str:
        """The text of an answer."""
        return json.dumps(self.answer(form, given, request), ensure_ascii=False)

    def answer(self, form: str, given: dict[str, Any], request: Request) -> Any:
        """The answer as data."""
        return getattr(self, f"_{form.removesuffix('Answer').lower()}")(given, request)

    def _profile(self, given: dict[str, Any], _: Request) -> Any:
        return {"name": given["descriptions"].get("name", "Ada Example"), "profile": "Someone with a steady temper."}

    def _questions(self, given: dict[str, Any], _: Request) -> Any:
        index = int(sha256(given["profile"].encode()).hexdigest(), 16) % 1000
        item = generate_user(index, settings=self._settings)
        questions = [
            {
                "question": one.query,
                "required_info": [
                    {"info_type": name, "info_choices": list(item.state_schema[name])} for name in one.required_info
                ],
            }
            for one in item.qas
        ]
        return {"questions": questions}

    def _merged(self, given: dict[str, Any], _: Request) -> Any:
        return {"merged": {one["info_type"]: [one["info_type"]] for q in given["questions"] for one in q["required_info"]}}

    def _values(self, given: dict[str, Any], _: Request) -> Any:
        return {"values": {name: uses[0]["info_choices"] for name, uses in given["properties"].items()}}

    def _state(self, given: dict[str, Any], _: Request) -> Any:
        return {"state": {name: values[1] for name, values in given["schema"].items()}}

    def _update(self, given: dict[str, Any], request: Request) -> Any:
        found = _COUNT.search(request.messages[0].text)
        assert found is not None
        room, schema, present = given["may_change"], given["schema"], given["present"]
        names = sorted(room, key=lambda name: (-room[name], sha256(f"{name}{len(given['earlier_periods'])}".encode()).digest()))
        moved = {name: schema[name][1 if present[name] != schema[name][1] else 2] for name in names[: int(found[1])]}
        return {"period_summary": "A few things moved.", "updated": moved}

    def _events(self, given: dict[str, Any], _: Request) -> Any:
        return {"events": [{"states": [name], "event": _event({name: move})} for name, move in given["changes"].items()]}

    def _hints(self, given: dict[str, Any], _: Request) -> Any:
        return {
            "hints": [
                {"event": int(number), "variable": name, "value": given["schema"][name][0]}
                for number, text in given["events"].items()
                for name in sorted(matcher().hinted(text) & given["schema"].keys())
            ]
        }

    def _options(self, given: dict[str, Any], _: Request) -> Any:
        return {"answers": {key: _advice(variant) for key, variant in given["variants"].items()}}

    def _choice(self, given: dict[str, Any], _: Request) -> Any:
        advised = matcher().advised(given["answer"])
        fits = [
            int(number)
            for number, variant in given["variants"].items()
            if all(value in advised.get(name, ()) for name, value in variant.items())
        ]
        return {"variant": fits[0] if fits else 1}

    def _initialqueries(self, given: dict[str, Any], _: Request) -> Any:
        return {
            "queries": [
                {"exposed_states": {name: value}, "query": _said({name: value})} for name, value in given["state"].items()
            ]
        }

    def _queries(self, given: dict[str, Any], _: Request) -> Any:
        told = [{name: move["to"] for name, move in event["changes"].items()} for event in given["events"]]
        return {"queries": [_said(one) for one in told]}

    def _exposure(self, given: dict[str, Any], _: Request) -> Any:
        exposed = matcher().exposed(given["words"])
        return {"told": {name: sorted(values)[0] for name, values in exposed.items() if name in given["schema"]}}

    def _text(self, given: dict[str, Any], _: Request) -> Any:
        if "words" in given:
            return {"text": _said(given["tell"])}
        return {"text": _advice(given["target"]) if "target" in given else _event(given["changes"])}


class Spoiler(GoodWriter):
    """Spoils the first answer of a form; all others are proper."""

    def __init__(self, form: str, spoil: Callable[[Any, dict[str, Any]], Any]) -> None:
        super().__init__()
        self._form, self._spoil, self._spoilt = form, spoil, False
        self.told: list[str] = []
        """What the model was told about its spoilt answers."""

    def answer(self, form: str, given: dict[str, Any], request: Request) -> Any:
        if len(request.messages) > 1:
            self.told.append(request.messages[-1].text)
        answer = super().answer(form, given, request)
        if form == self._form and not self._spoilt:
            self._spoilt = True
            return self._spoil(answer, given)
        return answer


def _event(changes: dict[str, Any]) -> str:
    return as_event([_KNOWN[name].events(move["from"], move["to"])[0] for name, move in changes.items()])


def _advice(variant: dict[str, str]) -> str:
    return " ".join(_KNOWN[name].advice_for(value) for name, value in variant.items())


def _said(exposed: dict[str, str]) -> str:
    cues = [_KNOWN[name].cues_of(value)[0] for name, value in exposed.items()]
    frame = phrasings(_KNOWN[next(iter(exposed))].frames[0])[0]
    return f"{'. '.join(cue[0].upper() + cue[1:] for cue in cues)}. {frame}"
