"""The server that speaks as `vllm serve` does: against plain HTTP, and against a client that others wrote for vLLM."""

from __future__ import annotations

import base64
import io
import json
import socket
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from memagent_training.testing.vllm_rule import Eye, Sampler
from memagent_training.testing.vllm_server import FakeVllmServer

DIALECTS = ("0.31", "0.33")
IMAGE = 9
EYE = Eye(image_id=IMAGE)
LONG = Sampler(vocabulary=range(10, 1000), ends=255)


def call(server: FakeVllmServer, path: str, body: Any = None, *, method: str = "POST") -> tuple[int, Any]:
    """Status and JSON of one request."""
    data = None if body is None and method == "GET" else json.dumps(body or {}).encode()
    request = urllib.request.Request(server.url + path, data=data, method=method)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def asked(*ids: int, seed: int = 1, max_tokens: int = 8, **more: Any) -> dict[str, Any]:
    params = {"max_tokens": max_tokens, "temperature": 1.0, "seed": seed, "logprobs": 0}
    return {"token_ids": list(ids), "sampling_params": params, "return_token_ids": True, **more}


def part(size: tuple[int, int], colour: str = "red") -> dict[str, str]:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return {"type": "image_url", "url": "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()}


def said(server: FakeVllmServer, *ids: int, **options: Any) -> list[int]:
    status, reply = call(server, "/inference/v1/generate", asked(*ids, **options))
    assert status == 200, reply
    return list(reply["choices"][0]["token_ids"])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_client_of_trl_works_unchanged(dialect: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trl", reason="trl is not installed")
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    from accelerate import PartialState
    from trl.experimental.async_grpo.vllm_client import VLLMClient

    PartialState(cpu=True)  # TRL's log needs it
    (tmp_path / "adapter_config.json").write_text('{"r": 8}')
    (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")
    with FakeVllmServer(dialect=dialect, max_model_len=512) as server:
        client = VLLMClient(server.url, server_timeout=5)
        client.wait_for_server_ready()
        assert (client.get_max_model_len(), client.get_dtype(), client.get_world_size()) == (512, "torch.bfloat16", 1)
        assert client.get_server_info()["model_config"]["logprobs_mode"] == "processed_logprobs"
        client.load_lora_adapter("v1", str(tmp_path))
        assert len(said(server, 1, 2, model="v1")) > 0
        client.unload_lora_adapter("v1")
        client.init_weight_transfer_engine({"master_address": "127.0.0.1"})
        client.pause()
        client.start_weight_update()
        client.update_weights({"names": ["a"]})
        client.finish_weight_update()
        client.resume()
        assert server.state.updates == 1
        with FakeVllmServer(lora_updating=False) as other, pytest.raises(RuntimeError, match="RUNTIME_LORA_UPDATING"):
            VLLMClient(other.url).load_lora_adapter("v1", str(tmp_path))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_tokens_in_tokens_out(dialect: Any) -> None:
    with FakeVllmServer(dialect=dialect) as server:
        _, reply = call(server, "/inference/v1/generate", asked(1, 2, request_id="a#0"))
        choice = reply["choices"][0]
        scores = choice["logprobs"]["content"]
        assert reply["request_id"] == "a#0"
        assert reply["prompt_token_ids"] == [1, 2]
        assert [entry["token"] for entry in scores] == [f"token_id:{one}" for one in choice["token_ids"]]
        assert choice["finish_reason"] == ("stop" if choice["token_ids"][-1] == 0 else "length")
        assert ("weight_versions" in choice) == ("token_id" in scores[0]) == (dialect == "0.33")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_completions_and_generate_say_the_same(dialect: Any) -> None:
    with FakeVllmServer(dialect=dialect) as server:
        body = {"prompt": [1, 2], "max_tokens": 8, "seed": 1, "logprobs": 0, "return_token_ids": True}
        _, reply = call(server, "/v1/completions", body)
        choice = reply["choices"][0]
        assert choice["token_ids"] == said(server, 1, 2)
        assert choice["prompt_token_ids"] == [1, 2]
        assert len(choice["logprobs"]["token_logprobs"]) == len(choice["token_ids"])


def test_raw_pictures_are_expanded_by_the_rule_of_vllm() -> None:
    with FakeVllmServer(eye=EYE) as server:
        picture = part((280, 168))
        lengths = {}
        for name, ids in {"expanded": [1, *[IMAGE] * 60, 2], "collapsed": [1, IMAGE, 2]}.items():
            _, reply = call(server, "/inference/v1/generate", asked(*ids, content_parts=[picture]))
            lengths[name] = len(reply["prompt_token_ids"])
            assert reply["mm_placeholders"] == {"image": [{"offset": 1, "length": 60}]}
        assert lengths == {"expanded": 121, "collapsed": 62}
        assert said(server, 1, IMAGE, content_parts=[picture]) != said(
            server, 1, IMAGE, content_parts=[part((280, 168), "blue")]
        )


def test_prepared_pictures_stand_on_expanded_places() -> None:
    with FakeVllmServer(eye=EYE) as server:
        raw = part((56, 56))
        message = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": raw["url"]}}]}
        features = call(server, "/v1/chat/completions/render", {"model": "policy", "messages": [message]})[1]["features"]
        features["mm_placeholders"] = {"image": [{"offset": 1, "length": 4}]}
        expanded = [1, *[IMAGE] * 4, 2]

        assert said(server, *expanded, features=features) == said(server, 1, IMAGE, 2, content_parts=[raw])
        assert call(server, "/inference/v1/generate", asked(1, IMAGE, 2, features=features))[0] == 400
        assert call(server, "/inference/v1/generate", asked(*expanded, features=features, content_parts=[raw]))[0] == 400


def test_who_does_not_see_refuses_pictures() -> None:
    with FakeVllmServer() as server:
        status, reply = call(server, "/inference/v1/generate", asked(1, IMAGE, content_parts=[part((56, 56))]))
        assert (status, "not a multimodal model" in reply["error"]["message"]) == (400, True)


@pytest.mark.parametrize(("dialect", "status"), [("0.31", 404), ("0.33", 403)])
def test_generate_needs_scale_out(dialect: Any, status: int) -> None:
    with FakeVllmServer(dialect=dialect, scale_out=False) as server:
        assert call(server, "/inference/v1/generate", asked(1))[0] == status
        assert call(server, "/v1/completions", {"prompt": [1]})[0] == 200


def test_control_needs_development_mode() -> None:
    with FakeVllmServer(dev_mode=False) as server:
        assert call(server, "/pause")[0] == call(server, "/server_info", method="GET")[0] == 404
        assert call(server, "/version", method="GET") == (200, {"version": "0.33.0"})


def test_the_newer_dialect_has_more_paths() -> None:
    with FakeVllmServer(dialect="0.31") as older, FakeVllmServer() as newer:
        for path in ("/shutdown_weight_transfer_engine", "/inference/v1/abort_requests"):
            assert (call(older, path)[0], call(newer, path)[0]) == (404, 200)
        for one, status in ((older, 422), (newer, 200)):
            call(one, "/start_weight_update")
            assert call(one, "/update_weights", {"update_info": [{"names": []}]})[0] == status


def test_a_prompt_that_is_too_long_is_a_bad_request() -> None:
    with FakeVllmServer(max_model_len=10) as server:
        status, reply = call(server, "/inference/v1/generate", asked(1, 2, 3, max_tokens=8))
        assert status == 400
        assert "10 tokens" in reply["error"]["message"]


@pytest.mark.parametrize(("dialect", "mode", "status"), [("0.31", "wait", None), ("0.33", "wait", 503), ("0.33", "keep", None)])
def test_a_paused_server_refuses_or_holds(dialect: Any, mode: str, status: int | None) -> None:
    with FakeVllmServer(dialect=dialect) as server, ThreadPoolExecutor(1) as pool:
        call(server, f"/pause?mode={mode}")
        assert call(server, "/is_paused", method="GET")[1] == {"is_paused": True}
        waiting = pool.submit(call, server, "/inference/v1/generate", asked(1))
        if status is None:
            time.sleep(0.05)
            assert not waiting.done()
            call(server, "/resume")
        assert waiting.result()[0] == (status or 200)


def test_weights_change_what_is_said_once_the_prefix_cache_is_reset() -> None:
    with FakeVllmServer(sampler=LONG) as server:
        before = said(server, 1, 2)
        for path, body in (
            ("/start_weight_update", {}),
            ("/update_weights", {"update_info": {}}),
            ("/finish_weight_update", {"weight_version": "7"}),
        ):
            assert call(server, path, body)[0] == 200
        assert said(server, 1, 2) == before  # its prefix was computed with the old weights
        assert call(server, "/reset_prefix_cache")[0] == 200
        assert said(server, 1, 2) != before
        assert call(server, "/weight_info", method="GET")[1] == {"weight_version": "7"}
        reply = call(server, "/inference/v1/generate", asked(1))[1]
        assert [one["version"] for one in reply["choices"][0]["weight_versions"]] == ["7"]


def adapter(folder: Path, content: bytes, *, rank: int = 8) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank}))
    (folder / "adapter_model.safetensors").write_bytes(content)
    return str(folder)


def test_adapters_are_files_under_names_of_their_own(tmp_path: Path) -> None:
    with FakeVllmServer(sampler=LONG) as server:

        def load(name: str, path: str, **more: Any) -> int:
            return call(server, "/v1/load_lora_adapter", {"lora_name": name, "lora_path": path, **more})[0]

        first, second = adapter(tmp_path / "1", b"one"), adapter(tmp_path / "2", b"two")
        assert load("v1", first) == load("v2", second) == 200
        assert load("v1", second) == 400
        assert load("v3", str(tmp_path / "none")) == 404
        assert load("v3", adapter(tmp_path / "3", b"three", rank=64)) == 400
        texts = [said(server, 1, 2, model=name) for name in ("policy", "v1", "v2")]
        assert len({tuple(one) for one in texts}) == 3
        assert load("v1", second, load_inplace=True) == 200
        assert said(server, 1, 2, model="v1") == texts[1]  # the cache goes by the name
        names = [one["id"] for one in call(server, "/v1/models", method="GET")[1]["data"]]
        assert names == ["policy", "v1", "v2"]
        assert call(server, "/v1/unload_lora_adapter", {"lora_name": "v2"})[0] == 200
        assert call(server, "/inference/v1/generate", asked(1, model="v2"))[0] == 404


def test_a_sleep_of_level_two_loses_the_weights() -> None:
    with FakeVllmServer() as server:
        call(server, "/sleep?level=2")
        assert call(server, "/is_sleeping", method="GET")[1] == {"is_sleeping": True}
        assert call(server, "/inference/v1/generate", asked(1))[0] == 500
        call(server, "/wake_up?tags=weights&tags=kv_cache")
        assert call(server, "/inference/v1/generate", asked(1))[0] == 500
        call(server, "/start_weight_update")
        call(server, "/update_weights", {"update_info": {}})
        call(server, "/finish_weight_update")
        assert said(server, 1)


def test_a_caller_that_goes_stops_its_request() -> None:
    with FakeVllmServer(latency=30) as server:
        host, _, port = server.url.removeprefix("http://").partition(":")
        body = json.dumps(asked(1)).encode()
        head = f"POST /inference/v1/generate HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with socket.create_connection((host, int(port))) as line:
            line.sendall(head + body)
            _until(lambda: server.busy == 1 and server.state.running)
        _until(lambda: server.busy == 0)
        assert (server.aborted, server.state.running) == (1, {})


def _until(there: Any) -> None:
    end = time.monotonic() + 5
    while not there():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_server_that_dies_drops_every_connection() -> None:
    with FakeVllmServer(drop_after=1) as server:
        assert said(server, 1)
        assert call(server, "/health", method="GET")[0] == 200
        for path in ("/inference/v1/generate", "/health"):
            with pytest.raises(OSError, match=r".*"):
                call(server, path, asked(1))


def test_faults_that_are_asked_for_happen() -> None:
    with FakeVllmServer(failures={0: 503}, misread=lambda ids: [*ids, 5], max_num_seqs=1, latency=0.02) as server:
        assert call(server, "/inference/v1/generate", asked(1))[0] == 503
        assert call(server, "/inference/v1/generate", asked(1))[1]["prompt_token_ids"] == [1, 5]
        began = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: said(server, 1), range(4)))
        assert time.monotonic() - began > 0.08  # one at a time
        assert len(server.completions) == 6
