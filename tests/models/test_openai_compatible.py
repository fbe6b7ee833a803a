import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from helpers.checkpoints import Painter
from pydantic import BaseModel

from memagent.errors import ConfigError, InputError, MalformedOutput, MissingKey, ModelError
from memagent.models.openai_compatible import OpenAICompatibleModel
from memagent.types import user_message
from memagent_renderers.budget import estimate_tokens
from memagent_renderers.pricing import PatchPricing

KEY = "sk-very-secret-1234"


class Server:
    """A loopback server: what it was asked, and what it answers (`fail`: statuses of the next answers)."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.fail: list[int] = []
        self.pieces = ["Bis", "cuit", "."]
        self.finish = "stop"
        self.usage: dict[str, int] | None = {"prompt_tokens": 30, "completion_tokens": 3, "total_tokens": 33}
        self.wait = threading.Event()
        self.hang = False
        self.chunk_error: str | None = None
        self.breaks = False
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                server.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                server.headers.append({name.lower(): value for name, value in self.headers.items()})
                if server.fail:
                    self._refuse(server.fail.pop(0))
                else:
                    self._answer()

            def _refuse(self, status: int) -> None:
                body = json.dumps({"error": {"message": f"bad luck with key {KEY}"}}).encode()
                self.send_response(status)
                self.send_header("x-request-id", "req_7")
                self.send_header("retry-after-ms", "1")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _answer(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                if server.breaks:
                    self.send_header("Content-Length", "1000000")
                self.end_headers()
                if server.hang:
                    server.wait.wait(5)
                    return
                chunks: list[dict[str, Any]] = [{"choices": [_choice(piece, None)]} for piece in server.pieces]
                chunks.append({"choices": [_choice(None, server.finish)]})
                if server.chunk_error:
                    chunks[1] = {"error": {"message": server.chunk_error}}
                if server.usage:
                    chunks.append({"choices": [], "usage": server.usage})
                base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
                for chunk in chunks[:1] if server.breaks else chunks:
                    self.wfile.write(b"data: " + json.dumps(base | chunk).encode() + b"\n\n")
                if not server.breaks:
                    self.wfile.write(b"data: [DONE]\n\n")

            def log_message(self, *args: object) -> None:
                pass

        return Handler


def _choice(text: str | None, finish: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": {"content": text}, "finish_reason": finish}


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.wait.set()
    made.http.shutdown()
    made.http.server_close()
    thread.join()


@pytest.fixture
def model(server: Server) -> Iterator[OpenAICompatibleModel]:
    with OpenAICompatibleModel("tiny-vl", base_url=server.url, api_key=KEY) as made:
        yield made


def test_an_answer_streams_with_the_reported_usage(server: Server, model: OpenAICompatibleModel, paint: Painter) -> None:
    stream = model.stream([user_message("dog?", paint(56, 84))], max_tokens=7, stop=["\n"], seed=5)
    assert list(stream) == ["Bis", "cuit", "."]
    assert stream.reply is not None
    assert stream.reply.text == "Biscuit."
    assert (stream.reply.usage.text_in, stream.reply.usage.text_out, stream.reply.usage.visual) == (24, 3, 6)
    (asked,) = server.asked
    assert asked["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")
    assert (asked["max_tokens"], asked["stop"], asked["seed"], asked["temperature"]) == (7, ["\n"], 5, 0.0)
    assert asked["stream_options"] == {"include_usage": True}
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_a_server_that_reports_no_usage_is_estimated(server: Server, model: OpenAICompatibleModel) -> None:
    server.usage, server.finish = None, "length"
    reply = model.generate([user_message("What is my dog called?")])
    assert reply.usage.text_in == estimate_tokens("What is my dog called?")
    assert reply.usage.text_out == estimate_tokens("Biscuit.")
    assert reply.stop_reason == "length"
    assert not model.reader.exact


def test_pictures_that_cost_more_than_charged_are_logged_once(
    server: Server, model: OpenAICompatibleModel, paint: Painter, caplog: pytest.LogCaptureFixture
) -> None:
    asked = [user_message("dog?", paint(112, 112))]  # 16 tokens, and a server that enlarges it to 256
    server.usage = {"prompt_tokens": 280, "completion_tokens": 3, "total_tokens": 283}
    usage = model.generate(asked).usage
    model.generate(asked)
    (warning,) = caplog.messages
    assert "`openai:tiny-vl`" in warning
    assert "reported a prompt of 280 tokens" in warning
    assert "16 were charged" in warning
    assert KEY not in warning
    assert (usage.visual, usage.text_in) == (16, 264)


@pytest.mark.parametrize("shown", [True, False])
def test_a_prompt_that_text_and_template_explain_is_not_logged(
    server: Server, model: OpenAICompatibleModel, paint: Painter, caplog: pytest.LogCaptureFixture, shown: bool
) -> None:
    server.usage = {"prompt_tokens": 16 + 2 + 45 + 8, "completion_tokens": 3, "total_tokens": 74}
    if not shown:
        server.usage["prompt_tokens"] = 900  # long for other reasons than pictures
    model.generate([user_message("dog?", paint(112, 112)) if shown else user_message("dog?")])
    assert not caplog.messages


def test_a_price_of_ones_own_is_charged(server: Server, paint: Painter) -> None:
    with OpenAICompatibleModel("Qwen3-VL-4B", base_url=server.url, pricing=PatchPricing(cell=32)) as model:
        assert model.generate([user_message("dog?", paint(128, 128))]).usage.visual == 16
    with OpenAICompatibleModel("Qwen3-VL-4B", base_url=server.url) as model:
        assert model.generate([user_message("dog?", paint(128, 128))]).usage.visual == 64


def test_a_picture_that_no_reader_takes_is_refused_before_it_is_sent(
    server: Server, model: OpenAICompatibleModel, paint: Painter
) -> None:
    with pytest.raises(InputError, match="200 times"):
        model.generate([user_message("dog?", paint(4020, 20))])
    assert not server.asked


def test_a_schema_is_asked_for_and_checked(server: Server, model: OpenAICompatibleModel) -> None:
    class Dog(BaseModel):
        name: str

    server.pieces = ['{"name": ', '"Biscuit"}']
    assert model.generate([user_message("x")], schema=Dog).parsed == Dog(name="Biscuit")
    assert server.asked[0]["response_format"]["json_schema"]["schema"]["required"] == ["name"]
    server.pieces = ["no"]
    with pytest.raises(MalformedOutput):
        model.generate([user_message("x")], schema=Dog)


def test_a_failure_that_may_pass_is_tried_again(server: Server, model: OpenAICompatibleModel) -> None:
    server.fail = [500, 429]
    assert model.generate([user_message("x")]).text == "Biscuit."
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("status", "retryable", "attempts"),
    [(401, False, 1), (400, False, 1), (404, False, 1), (429, True, 3), (503, True, 3)],
)
def test_a_refusal_is_a_model_error_without_the_key(
    server: Server, model: OpenAICompatibleModel, status: int, retryable: bool, attempts: int
) -> None:
    server.fail = [status] * 3
    with pytest.raises(ModelError, match=f"answered {status}: bad luck with key \\*\\*\\*") as caught:
        model.generate([user_message("x")])
    error = caught.value
    assert (error.status, error.retryable, error.request_id) == (status, retryable, "req_7")
    assert len(server.asked) == attempts
    assert KEY not in str(error)
    assert error.__cause__ is None or KEY not in str(error.__cause__)


def test_silence_ends_at_the_timeout(server: Server, model: OpenAICompatibleModel) -> None:
    server.hang = True
    with pytest.raises(ModelError, match="did not answer in time") as caught:
        model.generate([user_message("x")], timeout=0.2)
    assert caught.value.retryable


def test_an_error_inside_the_stream_is_a_model_error(server: Server, model: OpenAICompatibleModel) -> None:
    server.chunk_error = "out of memory"
    with pytest.raises(ModelError, match="out of memory"):
        model.generate([user_message("x")])


def test_withheld_answers_are_errors(server: Server, model: OpenAICompatibleModel) -> None:
    server.finish = "content_filter"
    with pytest.raises(ModelError, match="withheld"):
        model.generate([user_message("x")])


def test_no_server_is_a_retryable_model_error() -> None:
    with (
        OpenAICompatibleModel("m", base_url="http://127.0.0.1:9/v1", max_retries=0) as model,
        pytest.raises(ModelError, match=r"no connection to `openai:m` at http://127.0.0.1:9/v1") as caught,
    ):
        model.generate([user_message("x")])
    assert caught.value.retryable


def test_closing_early_ends_the_answer(model: OpenAICompatibleModel) -> None:
    stream = model.stream([user_message("x")])
    assert next(stream) == "Bis"
    stream.close()
    assert list(stream) == []


def test_a_hosted_model_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(MissingKey, match=r"api\.openai\.com needs a key: set OPENAI_API_KEY"):
        OpenAICompatibleModel("gpt-4o")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:8000/v1")
    assert OpenAICompatibleModel("llama").name == "openai:llama"


def test_bad_settings_are_refused(model: OpenAICompatibleModel) -> None:
    with pytest.raises(InputError, match="no address of a server"):
        OpenAICompatibleModel("m", base_url="localhost", api_key="k")
    with pytest.raises(ConfigError, match="takes 4 stop texts, not 5"):
        model.generate([user_message("x")], stop=list("abcde"))


def test_sight_follows_the_name_or_the_option(server: Server, paint: Painter) -> None:
    with (
        OpenAICompatibleModel("llama-3", base_url=server.url) as blind,
        pytest.raises(InputError, match="sees_images"),
    ):
        blind.generate([user_message("x", paint(28, 28))])
    with OpenAICompatibleModel("Qwen3-VL-4B", base_url=server.url) as seeing:
        assert seeing.reader.sees_images
        assert seeing.reader.image_cost(320, 320) == 100


def test_models_that_think_get_the_arguments_they_take(server: Server) -> None:
    with OpenAICompatibleModel("o3-mini", base_url=server.url) as model:
        model.generate([user_message("x")], max_tokens=9)
    assert server.asked[0]["max_completion_tokens"] == 9
    assert "temperature" not in server.asked[0]


def test_a_connection_that_breaks_in_the_middle_of_an_answer_may_be_tried_again(
    server: Server, model: OpenAICompatibleModel
) -> None:
    server.breaks = True
    with pytest.raises(ModelError, match="broke off") as caught:
        model.generate([user_message("dog?")])
    assert caught.value.retryable
