import threading
import time
from pathlib import Path

import pytest
from helpers.checkpoints import Painter
from helpers.gguf_files import header_bytes
from pydantic import BaseModel, Field

from memagent.errors import ConfigError, InputError, MissingExtra, ModelError
from memagent.models.gguf import EmbeddedModel, GgufModel
from memagent.types import user_message

DOG = [user_message("Tell me a story about a dog.")]


def test_a_missing_file_and_a_projector_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no model file"):
        GgufModel(tmp_path / "none.gguf")
    file = tmp_path / "mmproj.gguf"
    file.write_bytes(header_bytes(general__architecture="clip", clip__projector_type="qwen2vl_merger"))
    with pytest.raises(ConfigError, match="no language model"):
        GgufModel(file)


def test_a_missing_engine_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(header_bytes(general__architecture="llama", llama__context_length=64))
    monkeypatch.setitem(__import__("sys").modules, "xllamacpp", None)
    with pytest.raises(MissingExtra, match=r"pip install 'memagent\[chat\]'"):
        GgufModel(file)


def test_a_model_cut_short_is_a_model_error_and_quiet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("xllamacpp", reason="the embedded engine is not installed (xllamacpp)")
    file = tmp_path / "cut.gguf"
    file.write_bytes(header_bytes(general__architecture="llama", llama__context_length=64))
    with pytest.raises(ModelError, match="could not load"):
        GgufModel(file)
    assert capfd.readouterr() == ("", "")


@pytest.mark.model
def test_streamed_pieces_join_to_a_reply_with_exact_usage(embedded: EmbeddedModel) -> None:
    stream = embedded.stream(DOG, max_tokens=24)
    pieces = list(stream)
    assert stream.reply is not None
    assert len(pieces) > 12
    assert "".join(pieces) == stream.reply.text
    assert stream.reply.usage.text_out == 24
    assert stream.reply.usage.text_in > embedded.reader.count(DOG[0].text)
    assert (stream.reply.stop_reason, stream.reply.usage.visual) == ("length", 0)


@pytest.mark.model
def test_the_same_seed_says_the_same(embedded: EmbeddedModel) -> None:
    def said(seed: int) -> str:
        return embedded.generate(DOG, max_tokens=16, temperature=1.0, seed=seed).text

    assert said(1) == said(1)
    assert said(1) != said(2)


@pytest.mark.model
def test_stop_texts_are_cut_off(embedded: EmbeddedModel) -> None:
    whole = embedded.generate(DOG, max_tokens=24).text
    mark = whole.split()[6]
    reply = embedded.generate(DOG, max_tokens=24, stop=[mark])
    assert reply.text == whole[: whole.index(mark)]
    assert reply.stop_reason == "stop"


class Note(BaseModel):
    kind: str = Field(pattern="^(fact|wish)$")
    weight: int = Field(ge=0, le=9)
    done: bool


@pytest.mark.model
def test_a_schema_constrains_what_is_said(embedded: EmbeddedModel) -> None:
    reply = embedded.generate([user_message("Write a poem about JSON.")], schema=Note, max_tokens=60)
    assert isinstance(reply.parsed, Note)
    assert "\n" not in reply.text


@pytest.mark.model
def test_closing_a_stream_frees_the_model_at_once(embedded: EmbeddedModel) -> None:
    stream = embedded.stream(DOG, max_tokens=1500)
    next(stream)
    stream.close()
    start = time.perf_counter()
    embedded.generate([user_message("Hi.")], max_tokens=1)
    assert time.perf_counter() - start < 4


@pytest.mark.model
def test_too_long_a_prompt_names_both_sizes(embedded: EmbeddedModel) -> None:
    with pytest.raises(ModelError, match=r"the prompt is 30\d\d tokens and the context window 2048"):
        embedded.generate([user_message("word " * 3000)])


@pytest.mark.model
def test_a_slow_answer_is_a_retryable_error(embedded: EmbeddedModel) -> None:
    with pytest.raises(ModelError, match="did not finish within") as caught:
        embedded.generate(DOG, max_tokens=1500, timeout=0.3)
    assert caught.value.retryable


@pytest.mark.model
def test_counts_are_the_tokenizers_and_survive_anything(embedded: EmbeddedModel) -> None:
    count = embedded.reader.count
    assert embedded.reader.exact
    assert count("") == 0
    assert count("Hello world") == 2
    assert count("<|im_end|>") > 1
    assert count("a\ud800\x00\U0001f600 \u05d0") > 3
    for text in range(150):  # more than one kept connection serves
        count(f"text {text}")


@pytest.mark.model
def test_threads_may_share_a_model(embedded: EmbeddedModel) -> None:
    said: list[str] = []

    def ask() -> None:
        said.append(embedded.generate(DOG, max_tokens=5).text)
        embedded.reader.count(f"{threading.get_ident()}")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 4
    assert all(said)


@pytest.mark.model
def test_pictures_are_refused_without_a_projector(embedded: EmbeddedModel, paint: Painter) -> None:
    with pytest.raises(InputError, match="cannot see pictures"):
        embedded.generate([user_message("what?", paint(56, 56))])


@pytest.mark.model
def test_loading_is_quick_quiet_and_leaves_nothing(embedded: EmbeddedModel, capfd: pytest.CaptureFixture[str]) -> None:
    start = time.perf_counter()
    model = EmbeddedModel(context=512, threads=1)
    assert time.perf_counter() - start < 5
    folder = Path(model._server._folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    model.generate(DOG, max_tokens=2)
    model.close()
    model.close()
    assert not folder.exists()
    assert capfd.readouterr() == ("", "")
    with pytest.raises(ModelError, match="has been closed"):
        model.generate(DOG)
