"""The examples run, and print what they say."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from memagent.testing.contract import MemoryContract

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))

from own_memory import LastWords  # noqa: E402


class TestLastWords(MemoryContract):
    """A memory of one's own in one file keeps the whole contract."""

    memory_class = LastWords


def test_a_memory_of_ones_own_takes_fewer_than_thirty_lines() -> None:
    assert len((EXAMPLES / "own_memory.py").read_text().splitlines()) < 30


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """Runs an example as a script, in an empty folder, and gives what it prints."""
    monkeypatch.chdir(tmp_path)

    def printed(name: str) -> str:
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out.strip()

    return printed


def said_by(name: str) -> str:
    """What an example says that it prints."""
    (said,) = re.findall(r"print\(.*\)  # (.*)", (EXAMPLES / name).read_text())
    return str(said)


def test_a_model_of_ones_own_prints_what_it_says(run: Callable[[str], str]) -> None:
    assert run("own_model.py") == said_by("own_model.py")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["embed_in_an_app.py", "chat_history.py"])
def test_an_example_on_the_embedded_model_prints_what_it_says_each_time(name: str, run: Callable[[str], str]) -> None:
    pytest.importorskip("xllamacpp", reason="needs memagent[embedded]")
    assert [run(name), run(name)] == [said_by(name)] * 2


def test_a_memory_of_ones_own_prints_its_view(run: Callable[[str], str]) -> None:
    assert re.fullmatch(r"\[.*\] user: My dog is called Biscuit\.", run("own_memory.py"))


def test_a_web_app_keeps_its_users_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fastapi = pytest.importorskip("fastapi")
    monkeypatch.setenv("MEMAGENT_STORE", str(tmp_path))
    module = runpy.run_path(str(EXAMPLES / "web_app.py"))
    chat, said = module["chat"], module["Said"]
    with module["store"]:
        chat("ada", said(text="My dog is called Biscuit."))
        assert "Biscuit" in chat("ada", said(text="What is my dog called?"))["answer"]
        assert "Biscuit" not in str(chat("bob", said(text="What is my dog called?")))
        assert module["erase"]("ada") == {"erased": "ada"}
        assert "Biscuit" not in str(chat("ada", said(text="What is my dog called?")))
        with pytest.raises(fastapi.HTTPException) as refused:
            chat("a" * 201, said(text="hi"))
        assert refused.value.status_code == 422
    assert {route.path for route in module["app"].routes} >= {"/chat/{user}", "/users/{user}"}
