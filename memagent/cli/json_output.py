"""The JSON object of `memagent chat`: the same fields whether an answer came, was cut short, or failed.

version      of this object; grows when a field changes its meaning or goes
answer       text; null when there is none
session_id   where the turn was stored; null when the chat did not begin, or remembers nothing
model        its `provider:model` name, or null
memory       what the model was shown: [{id, text, score or null, messages: [ids of the messages behind it],
             role and speaker (or null) of who said it, time or null}]
usage        {text_in, text_out, visual, calls, seconds}
timings      seconds since the turn began: {recall, first_token, total}, those that were reached
stop_reason  "stop", "length", "interrupted", or null after an error
error        null, or {code, message, retryable}, and `partial`, the text so far, for an answer that broke off

With `--stream` every line is such an object or a piece of the answer, told apart by `type`: "delta" with `text`, and last,
once, "answer" or "error" with all of the above.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memagent.cli.common import JSON_VERSION

if TYPE_CHECKING:
    from memagent.agent import Answer
    from memagent.types import Recall

Envelope = dict[str, object]


def of_answer(answer: Answer, *, session: str | None) -> Envelope:
    """An answer, whole or interrupted."""
    return {
        "version": JSON_VERSION,
        "answer": answer.text,
        "session_id": session,
        "model": answer.model,
        "memory": _shown(answer.recall),
        "usage": answer.usage.model_dump(),
        "timings": answer.seconds,
        "stop_reason": answer.stop_reason,
        "error": None,
    }


def of_error(
    error: BaseException, *, session: str | None = None, model: str | None = None, recall: Recall | None = None
) -> Envelope:
    """A turn without an answer, as far as it came."""
    return {
        "version": JSON_VERSION,
        "answer": None,
        "session_id": session,
        "model": model,
        "memory": _shown(recall),
        "usage": {"text_in": 0, "text_out": 0, "visual": 0, "calls": 0, "seconds": 0.0},
        "timings": {},
        "stop_reason": None,
        "error": error_body(error),
    }


def error_body(error: BaseException) -> dict[str, object]:
    """What went wrong, for programs: `code` is stable, `retryable` says whether the same call may succeed later."""
    if isinstance(error, KeyboardInterrupt):
        return {"code": "interrupted", "message": "interrupted before an answer came", "retryable": True}
    code = getattr(error, "code", "unexpected")
    message = str(error) if code != "unexpected" else f"{type(error).__name__}: {error}"
    found: dict[str, object] = {"code": code, "message": message, "retryable": bool(getattr(error, "retryable", False))}
    if partial := getattr(error, "partial", ""):
        found["partial"] = partial
    return found


def _shown(recall: Recall | None) -> list[dict[str, object]]:
    sources = recall.sources if recall is not None else ()
    return [one.model_dump(mode="json", exclude={"seq"}) for one in sources]
