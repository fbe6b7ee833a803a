from pathlib import Path

import pytest
from pydantic import BaseModel

from memagent.errors import ConfigError, ModelError
from memagent.models.scripted import ScriptedModel
from memagent.types import user_message


def test_replies_come_in_order_and_matching_ones_whenever_they_match(tmp_path: Path) -> None:
    file = tmp_path / "script.jsonl"
    file.write_text('"first"\n\n{"match": "extract", "text": "{}"}\n{"text": "second"}\n')
    model = ScriptedModel(file)
    asked = ["hello", "please extract", "hello", "extract again"]
    assert [model.generate([user_message(text)]).text for text in asked] == ["first", "{}", "second", "{}"]
    assert model.name == f"scripted:{file}"


def test_running_out_names_the_file_and_the_number_of_replies(tmp_path: Path) -> None:
    file = tmp_path / "script.jsonl"
    file.write_text('"only"\n')
    model = ScriptedModel(file)
    model.generate([user_message("x")])
    with pytest.raises(ModelError, match=r"script\.jsonl` has run out after 1 replies"):
        model.generate([user_message("x")])


def test_a_list_works_as_a_script_and_replies_are_parsed() -> None:
    class Note(BaseModel):
        text: str

    model = ScriptedModel(['{"text": "hi"}'])
    assert model.generate([user_message("x")], schema=Note).parsed == Note(text="hi")


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "line 1 .* is not JSON"), ("[1]", "is neither"), ('{"text": "a", "match": "("}', "no regular expression")],
)
def test_a_bad_script_is_a_config_error(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "script.jsonl"
    file.write_text(content)
    with pytest.raises(ConfigError, match=message):
        ScriptedModel(file)


def test_a_missing_script_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        ScriptedModel(tmp_path / "none.jsonl")
