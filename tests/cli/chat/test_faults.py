"""Whatever a server does, the program ends with an answer or one line and a documented exit code, and stores what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from invocations import checked, program

from memagent import Store
from memagent.models.wire import exchange
from memagent.testing.fault_server import FaultServer
from memagent.testing.faults import FAULTS, TEXT


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "PAUSE", 0.01)
    monkeypatch.setattr(exchange, "GRACE", 0.2)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_in_an_answer_or_in_one_line(
    server: FaultServer, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = FAULTS[name]
    monkeypatch.setenv("MEMAGENT_BASE_URL", server.url(name))
    monkeypatch.setenv("MEMAGENT_TIMEOUT", "0.5" if fault.endless else "20")
    place = ("-m", "openai:m", "--store", tmp_path, "--embedder", "none", "--session", "s")
    ended = program("chat", "-p", "Where do I live?", *place)
    with Store(tmp_path, embedder=None) as store:
        question, *rest = store.memory("long_context").items()
    assert question.text == "Where do I live?"
    if fault.text is not None:
        assert (ended.code, ended.err) == (0, "")
        (answer,) = rest
        assert answer.text.startswith(fault.text)
        assert ended.out.endswith(f"{answer.text}\n")
        assert answer.origin == "said"
        return
    assert ended.code == 4
    assert fault.words in ended.err
    assert ended.out == (f"{fault.partial}\n" if fault.partial else "")
    assert ("(the answer broke off; what came is stored, marked as partial)" in ended.err) is bool(fault.partial)
    assert [(item.origin, item.text) for item in rest] == ([("partial", fault.partial)] if fault.partial else [])
    assert not set(ended.err) & set("\x1b\x07\x9b\u202e")


@pytest.mark.parametrize("flags", [("--json",), ("--json", "--stream"), ("--no-stream",)], ids=" ".join)
def test_a_cut_answer_is_marked_in_every_form(
    server: FaultServer, flags: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMAGENT_BASE_URL", server.url("cut_in_chunks"))
    ended = program("chat", "-p", "hi", *flags, "-m", "ollama:m", "--store", tmp_path, "--embedder", "none")
    assert ended.code == 4
    if "--json" not in flags:
        assert ended.out == f"{TEXT}\n"
        assert "the answer broke off" in ended.err
        return
    body = checked(json.loads(ended.out.splitlines()[-1]))
    assert (body["answer"], body["error"]["partial"], body["error"]["retryable"]) == (None, TEXT, True)


def test_signs_that_would_rewrite_a_terminal_are_escaped_in_json(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMAGENT_BASE_URL", server.url("control_signs"))
    ended = program("chat", "-p", "hi", "--json", "-m", "vllm:m", "--store", tmp_path, "--embedder", "none")
    assert not set(ended.out) & set("\x1b\x07\x9b\u202e")
    assert "\x1b]0;PWNED\x07\x1b[2J\x9b31m\u202eword" in json.loads(ended.out)["error"]["message"]
