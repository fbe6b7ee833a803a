"""Every fault of a server ends as its table says, however the model is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from memagent.errors import ModelError
from memagent.models.base import Reply
from memagent.models.openai_compatible import OpenAICompatibleModel
from memagent.models.wire import exchange
from memagent.testing.fault_server import FaultServer
from memagent.testing.faults import FAULTS, Fault
from memagent.types import user_message

ASKED = [user_message("Where do I live?")]
SECONDS = 0.5
"""Timeout of calls that only the timeout ends."""


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "PAUSE", 0.01)
    monkeypatch.setattr(exchange, "GRACE", 0.2)


def generated(model: OpenAICompatibleModel) -> Reply:
    return model.generate(ASKED, max_tokens=20)


def streamed(model: OpenAICompatibleModel) -> Reply:
    stream = model.stream(ASKED, max_tokens=20)
    pieces = list(stream)
    assert stream.reply is not None
    assert "".join(pieces).endswith(stream.reply.text)
    return stream.reply


def awaited(model: OpenAICompatibleModel) -> Reply:
    return asyncio.run(model.agenerate(ASKED, max_tokens=20))


@pytest.mark.parametrize("ask", [generated, streamed, awaited])
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_as_its_table_says(server: FaultServer, name: str, ask: Callable[[OpenAICompatibleModel], Reply]) -> None:
    fault = FAULTS[name]
    server.asked.clear()
    timeout = SECONDS if fault.endless else 20.0
    with OpenAICompatibleModel("m", base_url=server.url(name), max_retries=1, timeout=timeout) as model:
        if fault.text is None:
            with pytest.raises(ModelError) as caught:
                ask(model)
            check_error(caught.value, fault)
        else:
            check_reply(ask(model), fault)
    assert len(server.asked) == tries(name, fault)


def tries(name: str, fault: Fault) -> int:
    """How often a model with one retry asks: again only for what may pass, and before anything was said."""
    if fault.text is not None:
        return 2 if name.endswith("_once") else 1
    hopeless = not fault.retryable or fault.partial or fault.endless
    at_once = name not in ("blank_answer", "rate_limited_for_an_hour", "rate_limited_until_a_date")
    return 2 if at_once and not hopeless else 1


def check_error(error: ModelError, fault: Fault) -> None:
    assert fault.words in str(error)
    assert (error.retryable, error.partial, error.status) == (fault.retryable, fault.partial, fault.status)
    assert "secret" not in str(error)
    assert "pw" not in str(error)


def check_reply(reply: Reply, fault: Fault) -> None:
    assert fault.text is not None
    if fault.stop_reason == "length" and fault.what != "the same, at the limit":
        assert reply.text.startswith(fault.text * 100)
        assert len(reply.text) < 10_000
    else:
        assert reply.text == fault.text
    assert (reply.reasoning, reply.stop_reason) == (fault.reasoning, fault.stop_reason)
    assert reply.usage.text_out > 0
    assert reply.usage.text_in < 1_000
