"""Bytes reach the server over TLS and over proxies, and a call that ends leaves nothing open."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from memagent.errors import ConfigError, ModelError
from memagent.models.base import Reply
from memagent.models.openai_compatible import OpenAICompatibleModel
from memagent.models.wire import transport
from memagent.testing.fault_server import FaultServer
from memagent.testing.faults import TEXT
from memagent.types import user_message

TLS = Path(__file__).parents[2] / "data" / "tls"
ASKED = [user_message("Where do I live?")]
Ask = Callable[[OpenAICompatibleModel], Reply]


def asked(model: OpenAICompatibleModel) -> Reply:
    return model.generate(ASKED)


def awaited(model: OpenAICompatibleModel) -> Reply:
    return asyncio.run(model.agenerate(ASKED))


@pytest.fixture
def secure(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    """A server with a certificate that is trusted here."""
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "server.pem"))
    transport._certificates.cache_clear()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "server.pem", TLS / "server.key")
    with FaultServer(tls=context) as server:
        yield server
    transport._certificates.cache_clear()


@pytest.mark.parametrize("ask", [asked, awaited])
def test_a_server_is_spoken_to_over_tls(secure: FaultServer, ask: Ask) -> None:
    assert ask(OpenAICompatibleModel("m", base_url=secure.url("whole"))).text == TEXT


@pytest.mark.parametrize("ask", [asked, awaited])
def test_silence_over_tls_ends_in_time(secure: FaultServer, ask: Ask) -> None:
    began = time.monotonic()
    with pytest.raises(ModelError, match="in time"):
        ask(OpenAICompatibleModel("m", base_url=secure.url("keep_alive"), timeout=0.5))
    assert time.monotonic() - began < 5


class Proxy:
    """A proxy for one request: passes a tunnel to `port`, answers anything else itself."""

    def __init__(self, port: int = 0, refuse: bool = False) -> None:
        self.head, self._target, self._refuse = "", port, refuse
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://ada:pw%21@127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with self._socket, self._socket.accept()[0] as client:
            while "\r\n\r\n" not in self.head:
                self.head += client.recv(65536).decode()
            if self._refuse:
                client.sendall(b"HTTP/1.1 407 Who are you\r\n\r\n")
            elif self.head.startswith("CONNECT"):
                for part in (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n\r\n"):  # in two pieces
                    client.sendall(part)
                    time.sleep(0.05)
                self._tunnel(client)
            else:
                client.sendall(b'HTTP/1.1 200 OK\r\n\r\n{"choices": [{"message": {"content": "passed on"}}]}')

    def _tunnel(self, client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._target)) as server:
            back = threading.Thread(target=self._copy, args=(server, client))
            back.start()
            self._copy(client, server)
            back.join()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):  # who leaves with bytes unread resets the connection
            while data := source.recv(65536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._thread.join()


@pytest.mark.parametrize("ask", [asked, awaited])
def test_an_encrypted_server_is_reached_through_a_tunnel(
    secure: FaultServer, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Proxy(secure.port)
    monkeypatch.setenv("https_proxy", proxy.url)
    assert ask(OpenAICompatibleModel("m", base_url="https://model.example/whole/v1", api_key="sk-1")).text == TEXT
    proxy.close()
    assert proxy.head.startswith("CONNECT model.example:443 HTTP/1.1\r\n")
    assert "Basic YWRhOnB3IQ==" in proxy.head
    assert "sk-1" not in proxy.head


@pytest.mark.parametrize("ask", [asked, awaited])
def test_a_certificate_for_another_host_is_refused(secure: FaultServer, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Proxy(secure.port)
    monkeypatch.setenv("https_proxy", proxy.url)
    with pytest.raises(ModelError, match=r"no connection.*SSLCertVerificationError"):
        ask(OpenAICompatibleModel("m", base_url="https://other.example/whole/v1", api_key="sk-1", max_retries=0))
    proxy.close()
    assert not secure.asked


@pytest.mark.parametrize("ask", [asked, awaited])
def test_an_open_server_is_reached_over_a_proxy_that_passes_on(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Proxy()
    monkeypatch.setenv("http_proxy", proxy.url)
    assert ask(OpenAICompatibleModel("m", base_url="http://model.example:81/v1", api_key="sk-1")).text == "passed on"
    proxy.close()
    assert proxy.head.startswith("POST http://model.example:81/v1/chat/completions HTTP/1.1\r\nHost: model.example:81\r\n")
    assert "Basic YWRhOnB3IQ==" in proxy.head


@pytest.mark.parametrize("ask", [asked, awaited])
def test_a_proxy_that_refuses_is_a_failure_that_shows_no_password(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Proxy(refuse=True)
    monkeypatch.setenv("https_proxy", proxy.url)
    with pytest.raises(ModelError, match="no connection") as caught:
        ask(OpenAICompatibleModel("m", base_url="https://model.example/v1", api_key="sk-1", max_retries=0))
    proxy.close()
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("address", ["http://bob:pw@[bad", "http://bob:pw@127.0.0.1:99999", "bob:pw@host:port"])
@pytest.mark.parametrize("ask", [asked, awaited])
def test_a_proxy_whose_address_cannot_be_is_named_without_its_password(
    ask: Ask, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("all_proxy", address)
    with pytest.raises(ConfigError, match="the proxy that the environment names") as caught:
        ask(OpenAICompatibleModel("m", base_url="https://model.example/v1", api_key="sk-1"))
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("fault", ["silent_stream", "hangs_after_done", "endless_answer"])
def test_a_stream_that_is_closed_hangs_up_at_once(fault: str) -> None:
    with FaultServer() as server:
        stream = OpenAICompatibleModel("m", base_url=server.url(fault)).stream(ASKED)
        assert next(stream)
        stream.close()
        deadline = time.monotonic() + 5
        while server.busy and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not server.busy


def test_calls_beyond_the_connections_that_there_may_be_wait_for_one_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_connections", lambda: 2)
    most = 0

    async def watched(server: FaultServer) -> list[Reply | BaseException]:
        model = OpenAICompatibleModel("m", base_url=server.url("whole"))
        gone = OpenAICompatibleModel("m", base_url="http://127.0.0.1:9/v1", timeout=0.2)
        calls = [asyncio.create_task(one.agenerate(ASKED)) for one in (gone, *[model] * 12, gone)]
        calls[3].cancel()

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, server.busy)
                await asyncio.sleep(0)

        watching = asyncio.create_task(watch())
        try:
            return await asyncio.gather(*calls, return_exceptions=True)
        finally:
            watching.cancel()

    with FaultServer() as server:
        found = asyncio.run(watched(server))
    assert [one.text for one in found if isinstance(one, Reply)] == [TEXT] * 11
    assert sorted(type(one).__name__ for one in found if not isinstance(one, Reply)) == ["CancelledError", *["ModelError"] * 2]
    assert 1 <= most <= 3  # the server may not have noticed yet that one hung up
