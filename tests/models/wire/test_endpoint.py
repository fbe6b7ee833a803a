"""Addresses and keys: what cannot be is refused, what is secret is never shown."""

from __future__ import annotations

import logging
import traceback

import pytest

from memagent.errors import InputError, MemAgentError
from memagent.models.openai_compatible import OllamaModel, OpenAICompatibleModel
from memagent.models.wire.endpoint import Endpoint, is_loopback
from memagent.testing.fault_server import FaultServer
from memagent.types import user_message

SECRETS = ("hunter2", "QSECRET", "sk-very-secret")


@pytest.mark.parametrize(
    "url",
    [
        *("localhost", "localhost:8000", "bob:hunter2@host/v1", "http://bob:hunter2@", "ftp://host/v1", "http://", "//host"),
        *("http://[::bad/v1", "http://host:99999/v1", "http://bob:hunter2@host:port/v1", "http://a b/v1", "http://.../", ""),
    ],
)
def test_an_address_that_cannot_be_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:8000/v1") as caught:
        Endpoint(url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("key", ["sk-very-secret two", "sk-very\nsecret", "sk-schlüssel", "sk-\x1bvery"])
def test_a_key_that_no_header_can_hold_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(InputError, match="copy it again") as caught:
        Endpoint("http://host/v1", key=key)
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("X-A", "hunter2\n"), ("X A", "1"), ("", "1"), ("X-A", "hunter2é"), ("X\r\nB", "1")),
        *(("content-length", "5"), ("Transfer-Encoding", "chunked")),
    ],
)
def test_a_header_that_cannot_be_is_refused_without_showing_its_value(name: str, value: str) -> None:
    with pytest.raises(InputError, match="header") as caught:
        Endpoint("http://host/v1", headers={name: value})
    assert "hunter2" not in str(caught.value)


def test_headers_and_fields_of_ones_own_reach_the_server() -> None:
    with FaultServer() as server:
        options = {"headers": {"OpenAI-Organization": "org-hunter2"}, "extra_body": {"top_p": 0.5, "seed": 9}}
        with OpenAICompatibleModel("m", base_url=server.url("whole"), **options) as model:  # type: ignore[arg-type]
            model.generate([user_message("hi")])
            assert model._endpoint.headers["OpenAI-Organization"] == "org-hunter2"
            assert "hunter2" not in model._endpoint.safe("who is org-hunter2?")
    assert (server.asked[0][1]["top_p"], server.asked[0][1]["seed"]) == (0.5, 9)


def test_fields_that_json_cannot_hold_are_refused() -> None:
    for given in ({"x": {1, 2}}, {"x": b"y"}, 7):
        with pytest.raises(InputError, match="extra_body"):
            OllamaModel("m", extra_body=given)  # type: ignore[arg-type]


@pytest.mark.parametrize("end", ["\n", "\r\n", " \t"])
def test_white_space_around_a_key_is_no_part_of_it(end: str) -> None:
    assert Endpoint("http://host/v1", key=f"sk-1{end}").headers == {"Authorization": "Bearer sk-1"}


def test_the_query_and_the_name_in_an_address_reach_the_server() -> None:
    endpoint = Endpoint("https://bob:hunter%322@[2001:db8::1]:8443/v1/?api-key=QSECRET")
    assert endpoint.url == "https://[2001:db8::1]:8443/v1/chat/completions?api-key=QSECRET"
    assert endpoint.shown == "https://[2001:db8::1]:8443/v1"
    assert endpoint.headers == {"Authorization": "Basic Ym9iOmh1bnRlcjIy"}
    assert endpoint.safe("hunter%322 hunter22 QSECRET") == "*** *** ***"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://bücher.example/vä 1", "http://xn--bcher-kva.example/v%C3%A4%201/chat/completions"),
        ("http://例え.example:81", "http://xn--r8jz45g.example:81/chat/completions"),
        ("http://host/v1/chat/completions/", "http://host/v1/chat/completions"),
        (" http://HOST/v1%20a?q=ü ", "http://host/v1%20a/chat/completions?q=%C3%BC"),
    ],
)
def test_addresses_are_written_as_a_request_takes_them(given: str, url: str) -> None:
    assert Endpoint(given).url == url


@pytest.mark.parametrize("fault", ["whole", "redirect_307", "server_error", "reset", "page", "cut_by_close"])
def test_no_log_and_no_error_shows_a_secret(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with FaultServer() as server:
        url = server.url(fault).replace("://", "://bob:hunter2@") + "?api-key=QSECRET"
        with OpenAICompatibleModel("m", base_url=url, api_key="sk-very-secret", max_retries=0) as model:
            try:
                shown = model.generate([user_message("hi")]).text
            except MemAgentError as error:
                shown = "".join(traceback.format_exception(error))
    assert shown
    for secret in SECRETS:
        assert secret not in shown + caplog.text


@pytest.mark.parametrize(
    ("url", "local"),
    [
        *(("http://127.0.0.1:1/v1", True), ("http://[::1]/v1", True), ("http://localhost", True), ("https://x.org", False)),
        ("http://[::bad", False),
    ],
)
def test_loopback_is_recognised(url: str, local: bool) -> None:
    assert is_loopback(url) is local


def test_a_local_server_needs_no_key_wherever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert OllamaModel("llama3.2").name == "ollama:llama3.2"
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://192.0.2.7:11434/v1")
    assert OllamaModel("qwen3")._endpoint.shown == "http://192.0.2.7:11434/v1"
