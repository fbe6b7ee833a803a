"""Agent configurations as the released evaluator reads them, and assistants by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.scripted_models import ToldModel

from memagent.environments.amemgym.assistants.config import AgentConfig, load_agent_config
from memagent.environments.amemgym.assistants.native import NativeAssistant
from memagent.environments.amemgym.assistants.published import AweAssistant, AwiAssistant, RagWindowAssistant
from memagent.environments.amemgym.assistants.windowed import Schedule, WindowedAssistant
from memagent.environments.amemgym.data import UserItem
from memagent.environments.amemgym.generate import generate_user, preset
from memagent.environments.amemgym.methods import Method, known_methods
from memagent.errors import ConfigError, UnknownName
from memagent.models.fake import FakeModel
from memagent.store import Store


def user() -> UserItem:
    return generate_user(1, settings=preset("v1.base"), seed=5)


CONFIG: dict[str, Any] = {
    "type": "awi",
    "name": "awi-(2,0,10)",
    "llm_config": {
        "llm_model": "gpt-4.1-mini",
        "base_url": "http://me:hidden@127.0.0.1:8000/v1?k=hidden",
        "api_key": "sk-hidden",
    },
    "agent_config": {"update_bsz": 2, "local_length": 0, "top_k": 10},
}


def test_every_method_can_be_built_and_the_four_memories_keep_their_names(tmp_path: Path) -> None:
    assert {"long_context", "rag", "notes", "memocr", "native", "rag_window", "awe", "awi"} <= set(known_methods())
    with Store(tmp_path, embedder="hash") as store:
        names = {method: Method(method).build(store=store, item=user(), model=FakeModel()).name for method in known_methods()}
        assert names == {method: method for method in known_methods()}
        with pytest.raises(UnknownName, match="awi"):
            Method("awy").build(store=store, item=user())
        with pytest.raises(ConfigError, match="writes by a model"):
            Method("awi-hack").build(store=store, item=user())


@pytest.mark.parametrize(
    ("kind", "own", "expected"),
    [
        ("native", {}, NativeAssistant),
        ("rag", {}, RagWindowAssistant),
        ("rag", {"enable_llm_mem_policy": True}, AweAssistant),
        ("awe", {"enable_llm_mem_policy": True}, AweAssistant),
        ("awi", {}, AwiAssistant),
        ("awi-hack", {}, AwiAssistant),
        ("awi-evolve", {}, AwiAssistant),
        ("rag-evolve", {}, AweAssistant),
        ("mem0-evolution", {}, AweAssistant),
    ],
)
def test_official_configurations_describe_assistants(kind: str, own: dict[str, object], expected: type, tmp_path: Path) -> None:
    raw = {**CONFIG, "type": kind, "agent_config": {**CONFIG["agent_config"], **own}}
    config = AgentConfig.model_validate(raw)
    with Store(tmp_path, embedder="hash") as store:
        assistant = Method(config.name, config).build(store=store, item=user(), model=FakeModel())
    assert type(assistant) is expected or kind.endswith(("evolve", "evolution"))
    assert isinstance(assistant, expected)
    assert assistant.name == "awi-(2,0,10)"
    if isinstance(assistant, WindowedAssistant):
        assert assistant.schedule == Schedule(2, 0, 10)


def test_a_voice_is_asked_with_the_temperature_and_tokens_of_the_configuration(tmp_path: Path) -> None:
    model = ToldModel(SheetLines=["{}"])
    config = AgentConfig.model_validate(
        {**CONFIG, "llm_config": {**CONFIG["llm_config"], "temperature": 0.7, "max_tokens": 99}}
    )
    with Store(tmp_path, embedder=None) as store:
        Method(config.name, config).build(store=store, item=user(), model=model).act("Hello.")
    asked = [*model.requests["reply"], *model.requests["SheetLines"]]
    assert [(one.temperature, one.max_tokens) for one in asked] == [(0.7, 99)] * 2


def test_a_native_configuration_may_limit_the_history(tmp_path: Path) -> None:
    config = AgentConfig.model_validate({**CONFIG, "type": "native", "llm_config": {"llm_model": "m", "max_history_msgs": 2}})
    with Store(tmp_path, embedder=None) as store:
        assistant = Method(config.name, config).build(store=store, item=user())
    for number in range(3):
        assistant.act(f"message {number}")
    assert isinstance(assistant, NativeAssistant)
    assert (len(assistant.history), assistant.dropped) == (2, 4)


def test_no_secret_of_a_configuration_is_shown_or_written(tmp_path: Path) -> None:
    raw = {**CONFIG, "memory_config": {"llm": {"api_key": "sk-hidden"}}}
    raw["llm_config"] = {**raw["llm_config"], "extra_params": {"token": "sk-hidden"}}
    config = AgentConfig.model_validate(raw)
    public = json.dumps(config.public())
    assert "hidden" not in public + repr(config) + str(config)
    assert "http://127.0.0.1:8000/v1" in public
    assert config.public()["agent_config"]["local_length"] == 0
    with Store(tmp_path / "store", embedder=None) as store:
        assistant = Method(config.name, config).build(store=store, item=user(), model=FakeModel("Yes."))
        assistant.save(tmp_path / "saved")
    assert all("hidden" not in file.read_text("utf-8") for file in (tmp_path / "saved").iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "awy"}, r"type: Input should be 'native'"),
        ({"name": "../x"}, r"name: String should match"),
        ({"agent_config": {"update_bsz": 0}}, r"agent_config\.update_bsz: Input should be greater than or equal to 1"),
        ({"agent_config": {"local_lenght": 4}}, r"agent_config\.local_lenght: Extra inputs are not permitted"),
        ({"llm_config": {"api_key": "sk-hidden"}}, r"llm_config\.llm_model: Field required"),
        ({"evolution_config": {"feedback_types": ["all"]}}, r"evolution_config\.feedback_types\.0: Input should be"),
    ],
)
def test_a_wrong_configuration_is_refused_with_its_place_and_without_its_values(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    file = tmp_path / "agent.json"
    file.write_text(json.dumps(CONFIG | change), "utf-8")
    with pytest.raises(ConfigError, match=message) as caught:
        load_agent_config(file)
    assert "hidden" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_configuration_loads_its_model_with_its_key_and_refuses_what_it_cannot_pass_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, object]] = []

    def load(name: str, **options: object) -> FakeModel:
        asked.append((name, options))
        return FakeModel()

    monkeypatch.setattr("memagent.models.registry.load_model", load)
    file = tmp_path / "agent.json"
    file.write_text(json.dumps(CONFIG), "utf-8")
    load_agent_config(file).load_model()
    assert asked == [("openai:gpt-4.1-mini", {"base_url": CONFIG["llm_config"]["base_url"], "api_key": "sk-hidden"})]
    extra = AgentConfig.model_validate({**CONFIG, "llm_config": {"llm_model": "m", "extra_params": {"top_p": 1}}})
    with pytest.raises(ConfigError, match="`extra_params` of `llm_config` cannot be passed on"):
        extra.load_model()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_agent_config(tmp_path / "none.json")
