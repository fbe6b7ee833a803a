"""Official records of what a model answered: of overall results, of probes, and of the upper bound.

A reply without a valid option names none (`response` is null) and scores what a uniformly random option would, as in
`scoring`; so does a call that failed, whose record also says why (`failure`). Unlike in released files `output_tokens` are
output tokens; `total_tokens` stands beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from memagent.environments.amemgym.data import Item, Question, golden_index
from memagent.environments.amemgym.official_format import probe_of
from memagent.environments.amemgym.scoring.answers import expected_score, similarity
from memagent.environments.amemgym.scoring.reply_parser import parse_reply
from memagent.errors import InputError
from memagent.models.base import Reply
from memagent.types import Usage

Record = dict[str, Any]


@dataclass(frozen=True)
class Said:
    """What came of one call: a reply, or why there is none."""

    reply: Reply | None
    failure: str | None = None

    @property
    def text(self) -> str:
        """The reply; empty when there is none."""
        return "" if self.reply is None else self.reply.text

    @property
    def usage(self) -> Usage:
        """What it cost; nothing when there is no reply."""
        return Usage() if self.reply is None else self.reply.usage


def answer_record(question: Question, state: Mapping[str, str], said: Said) -> Record:
    """The answer to a question; its golden number counts from 0. Raises `InputError` where no option suits the state."""
    golden = golden_index(question, state)
    if golden is None:
        raise InputError(f"no option of {question.query!r} suits the state (I7); mend the data: memagent amemgym check")
    return _record(question, golden, said, shown=golden)


def bound_record(question: Question, option: int, said: Said) -> Record:
    """The answer to a question asked with the values of an option told; here the golden number counts from 1."""
    return _record(question, option, said, shown=option + 1)


def _record(question: Question, golden: int, said: Said, *, shown: int) -> Record:
    choices = question.answer_choices
    option = parse_reply(said.text, options=len(choices)).option
    chosen = None if option is None else choices[option]
    state = choices[golden].state
    score = expected_score(question, state) if chosen is None else similarity(state, chosen.state)
    return {
        "query": question.query,
        "answer": shown,
        "answer_state": list(state),
        "answer_choice": choices[golden].answer,
        "raw_response": None if said.reply is None else said.text,
        "response": None if option is None else option + 1,
        "response_state": None if chosen is None else list(chosen.state),
        "response_choice": None if chosen is None else chosen.answer,
        "json_error": chosen is None,
        "llm_usage_statistics": statistics(said.usage),
        "scores": {"accuracy": score},
        **_failure(said),
    }


def probe_record(item: Item, period: int, question: int, asked: str, said: Said) -> Record:
    """The probe of the values behind a question; `asked` is what the model was asked."""
    probe = probe_of(said.text, item, period, question)
    results = [one.model_dump(mode="json") for one in probe.results]
    raw = None if said.reply is None else said.text
    return {"query": asked, "raw_response": raw, "results": results, **_failure(said)}


def statistics(usage: Usage) -> Record:
    """Tokens and seconds as records have them; pictures count as input."""
    read = usage.text_in + usage.visual
    return {
        "input_tokens": read,
        "output_tokens": usage.text_out,
        "total_tokens": read + usage.text_out,
        "time_elapsed": usage.seconds,
    }


def _failure(said: Said) -> Record:
    return {} if said.failure is None else {"failure": said.failure}
