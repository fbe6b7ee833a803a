"""llama.cpp inside this process, spoken to over a private socket.

The package xllamacpp runs llama.cpp's own server as threads of the calling process. That server always listens
somewhere. Where the system has Unix sockets it is given one in a fresh folder that only this user can open, so no
network port exists; elsewhere it listens on a random loopback port behind a random key. Speaking HTTP to it, instead
of calling into it, is what makes early stops prompt: when the connection closes, llama.cpp drops the request between
two batches of prompt or two tokens of answer. It queues concurrent requests, so any thread may call any method here.

httpx speaks that HTTP. `http.client` on a connection kept open counts a text in 0.17 ms instead of 0.47 and saves an
import of 0.1 s, at the price of a second client to maintain; an answer takes seconds, so that was not worth it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import tempfile
import time
import weakref
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import httpx
from pydantic import BaseModel

from memagent.errors import InputError, MissingExtra, ModelError
from memagent.models.convert import Json

_SOCKET_PATH_LIMIT = 100
"""Longest path of a Unix socket that every system takes (the smallest limit is 104 bytes)."""
_STALE = 4
"""Connections in the pool that the server may have dropped when a request comes."""


class LlamaServer:
    """One loaded model. `close` frees it; it is also freed when the object is collected or Python ends."""

    def __init__(self, model: Path, *, projector: Path | None, context: int, threads: int, quiet: bool) -> None:
        self._folder = tempfile.mkdtemp(prefix="memagent-llama-")  # mode 0700
        self._finish = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        path = os.path.join(self._folder, "llama.sock")
        use_socket = hasattr(socket, "AF_UNIX") and len(path.encode()) <= _SOCKET_PATH_LIMIT
        key, host = secrets.token_urlsafe(24), path if use_socket else "127.0.0.1"
        self._native = _start(model, projector, host=host, key=key, context=context, threads=threads, quiet=quiet)
        self._client = httpx.Client(
            transport=httpx.HTTPTransport(
                uds=path if use_socket else None,
                verify=False,  # no TLS, so no certificates to load
            ),
            base_url="http://llama.cpp" if use_socket else self._native.listening_address,
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            timeout=None,
        )

    def events(self, path: str, body: Json, *, timeout: float | None) -> Generator[dict[str, Any], None, None]:
        """The server-sent events of one request. Closing the generator ends the request at once."""
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        try:
            with closing(self._send(path, body, timeout=timeout)) as response:
                if response.status_code != 200:
                    raise _failure(response.status_code, response.read())
                for line in _lines(response.iter_raw()):
                    if time.monotonic() > deadline:
                        raise _too_slow(timeout)
                    if line.startswith(b"data: {"):
                        event: dict[str, Any] = json.loads(line[6:])
                        if "error" in event:
                            raise _failure(int(event["error"].get("code", 500)), line[6:])
                        yield event
        except httpx.TimeoutException as error:
            raise _too_slow(timeout) from error
        except httpx.TransportError as error:
            raise ModelError(f"llama.cpp broke off its answer: {type(error).__name__}") from error

    def token_count(self, text: str) -> int:
        """Tokens of `text` by the model's own tokenizer, no special tokens added."""
        with closing(self._send("/tokenize", {"content": text, "add_special": False}, timeout=None)) as response:
            data = response.read()
        if response.status_code != 200:
            raise _failure(response.status_code, data)
        return len(json.loads(data)["tokens"])

    def _send(self, path: str, body: Json, *, timeout: float | None) -> httpx.Response:
        """Send a request and wait for the head of the response, which the caller reads and closes."""
        if self._native is None:
            raise ModelError("this model has been closed")
        # Lone surrogates cannot be encoded and mean nothing to a tokenizer; they become question marks.
        content = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        request = self._client.build_request("POST", path, content=content, timeout=timeout)
        for _ in range(_STALE):
            try:
                return self._client.send(request, stream=True)
            except httpx.RemoteProtocolError:  # the server drops kept connections without a word; take another
                continue
        return self._client.send(request, stream=True)

    def close(self) -> None:
        """Free the model. Safe to call twice; requests under way end with an error."""
        self._native = None
        self._client.close()
        self._finish()


def _start(model: Path, projector: Path | None, *, host: str, key: str, context: int, threads: int, quiet: bool) -> Any:
    try:
        import xllamacpp
    except ImportError as error:
        raise MissingExtra("xllamacpp, which runs GGUF models,", "pip install 'memagent[chat]'") from error
    params: Any = xllamacpp.CommonParams()
    params.model.path = str(model)
    if projector is not None:
        params.mmproj.path = str(projector)
        params.image_min_tokens = 4  # so that no picture of ours is resized on its way in
    params.n_ctx, params.n_parallel = context, 1
    params.n_batch = params.n_ubatch = 256  # an abandoned prompt is dropped within a second on two cores
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.fit_params, params.warmup, params.ui, params.endpoint_slots = False, False, False, False
    params.cache_ram_mib = 0
    params.verbosity = -1 if quiet else 3
    params.api_keys = [key]
    params.hostnames = [host]
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        shown = f"`{model}`" + (f" with the projector `{projector}`" if projector else "")
        raise ModelError(f"llama.cpp could not load {shown}; it may be damaged or of an unknown kind") from error


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Lines of a stream. `httpx.Response.iter_lines` also ends one at U+2028 and U+0085, which JSON may contain."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    yield rest


def grammar_of(schema: type[BaseModel]) -> str:
    """The llama.cpp grammar of a schema's JSON, on one line: a small model would fill an answer with white space.

    It is made here because the server's own `response_format` drops the spacing rules.
    """
    import xllamacpp

    rules = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
    try:
        return cast(str, xllamacpp.json_schema_to_grammar(schema.model_json_schema() | {"x-guidance": rules}))
    except RuntimeError as error:
        raise InputError(f"the schema `{schema.__name__}` cannot be made a grammar: {error}") from error


def _too_slow(timeout: float | None) -> ModelError:
    return ModelError(f"the model did not finish within {timeout:g} s; raise `timeout` or lower `max_tokens`", retryable=True)


def _failure(status: int, body: bytes) -> ModelError:
    """The server's error as ours; too long a prompt names both sizes."""
    try:
        error: dict[str, Any] = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        error = {"message": body[:200].decode("utf-8", "replace")}
    if error.get("type") == "exceed_context_size_error":
        asked, window = error.get("n_prompt_tokens"), error.get("n_ctx")
        message = (
            f"the prompt is {asked} tokens and the context window {window}; "
            "lower the memory's budget, start a new session, or load the model with a larger `context`"
        )
        return ModelError(message, status=status)
    return ModelError(f"llama.cpp refused the request: {error.get('message')}", retryable=status >= 500, status=status)
