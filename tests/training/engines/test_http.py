"""The client of `vllm serve`: tokens, pictures, seeds, servers that fail, adapters; over the stand-in, without torch."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import pytest
from PIL import Image

from memagent.errors import ConfigError, EngineError
from memagent_training.engines import http
from memagent_training.engines.base import Completion, Prompt
from memagent_training.engines.http import HttpEngine
from memagent_training.engines.replica import Replica
from memagent_training.testing.vllm_rule import Eye, Sampler
from memagent_training.testing.vllm_server import FakeVllmServer

DIALECTS = ("0.31", "0.33")
IMAGE = 999
LONG = Sampler(vocabulary=range(10, 900), ends=20)
"""Says much, and hardly twice the same."""


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "PAUSE_S", 0.001)


class Host:
    """A trainer as far as the engine looks at it; its adapter is the text that `weights` holds."""

    def __init__(self, folder: Path | None = None, *, lora: bool = False, **args: Any) -> None:
        settings = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": None, "repetition_penalty": 1.0}
        self.args = SimpleNamespace(output_dir=str(folder), **settings | args)
        self.eos_token_ids = [0]
        self.use_vllm = False
        self.weights = "start"
        self.model = self.model_wrapped = SimpleNamespace(save_pretrained=self._save, **({"peft_config": {}} if lora else {}))
        self.accelerator = SimpleNamespace(
            is_main_process=True, get_state_dict=lambda model: None, unwrap_model=lambda model: model
        )

    def _save(self, folder: str, *, state_dict: object) -> None:
        Path(folder).mkdir()
        (Path(folder) / "adapter_config.json").write_text(json.dumps({"r": 8}))
        (Path(folder) / "adapter_model.safetensors").write_text(self.weights)

    def broadcast(self, value: Any) -> Any:
        return value


def started(*servers: FakeVllmServer, host: Host | None = None, **options: Any) -> HttpEngine:
    engine = HttpEngine(servers=tuple(one.url for one in servers), **{"weights": "fixed", "tries": 3} | options)
    engine.start(host or Host())  # type: ignore[arg-type]
    return engine


@contextmanager
def fleet(count: int, **settings: Any) -> Iterator[list[FakeVllmServer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(FakeVllmServer(sampler=LONG, **settings)) for _ in range(count)]


def asked(engine: HttpEngine, *prompts: Prompt) -> list[Completion]:
    async def all_of_them() -> list[Completion]:
        return await asyncio.gather(*map(engine.complete, prompts))

    with engine.batch(0):
        return asyncio.run(all_of_them())


def prompts(groups: int = 4, attempts: int = 4) -> list[Prompt]:
    return [
        Prompt(ids=(1, group), group=f"0:{group}", name=f"0:{group}/{attempt}#0", seed=100 * group + attempt, max_tokens=12)
        for group in range(groups)
        for attempt in range(attempts)
    ]


def pictured(*sizes: tuple[int, int]) -> Prompt:
    """Pictures of Qwen2.5-VL, with text around and between them."""
    ids, places, images = [1, 2], [], []
    for at, (width, height) in enumerate(sizes):
        buffer = io.BytesIO()
        Image.new("RGB", (width, height), (at, 0, 0)).save(buffer, "PNG")
        images.append(buffer.getvalue())
        places.append((len(ids), width * height // 28**2))
        ids += [*[IMAGE] * places[-1][1], 3]
    return Prompt(ids=tuple(ids), images=tuple(images), places=tuple(places), role="std", seed=5, max_tokens=12)


# -- tokens ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_was_sampled_comes_back_with_its_log_probabilities(dialect: Any) -> None:
    with fleet(1, dialect=dialect) as [server]:
        engine = started(server)
        one, cut = asked(engine, Prompt(ids=(1, 2), seed=3, max_tokens=400), Prompt(ids=(1, 2), seed=3, max_tokens=2))
        expected = LONG([1, 2], seed=3, weights="0/", max_tokens=400)
        assert (list(one.ids), list(one.logprobs or ())) == (expected.ids, expected.logprobs)
        assert (one.finished, one.ids[-1], cut.finished, cut.ids) == (True, 0, False, one.ids[:2])
        assert one.server == server.url


def test_everything_that_decides_a_token_is_sent() -> None:
    with fleet(1, eye=Eye(image_id=IMAGE)) as [server]:
        engine = started(server, host=Host(temperature=0.7, top_p=0.9, top_k=5, min_p=0.1))
        asked(engine, Prompt(ids=(1,), seed=2**63 - 1, name="0:0/0#0"), pictured((56, 56)))
        text, pictures = server.completions
        told = {"temperature": 0.7, "top_p": 0.9, "top_k": 5, "min_p": 0.1, "repetition_penalty": 1.0, "stop_token_ids": [0]}
        for params in (text, pictures["sampling_params"]):
            assert told.items() <= params.items()
            assert (params["logprobs"], params["skip_special_tokens"]) == (0, False)
        assert (text["seed"], text["model"], text["request_id"], text["max_tokens"]) == (2**63 - 1, "policy", "0:0/0#0", 1024)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("sizes", [[(280, 168)], [(280, 168), (140, 224)]])
def test_pictures_go_beside_one_token_each_and_are_read_as_the_trainer_has_them(dialect: Any, sizes: list[Any]) -> None:
    with fleet(1, dialect=dialect, eye=Eye(image_id=IMAGE)) as [server]:
        prompt = pictured(*sizes)
        [said] = asked(started(server), prompt)
        [body] = server.sent("/inference/v1/generate")
        assert body["token_ids"].count(IMAGE) == len(body["content_parts"]) == len(sizes)
        assert "features" not in body
        assert said.ids


def test_a_server_with_other_limits_of_pictures_is_an_error_that_says_so() -> None:
    with fleet(1, eye=Eye(image_id=IMAGE, min_pixels=65_536)) as [server]:
        prompt = pictured((112, 112))  # 16 tokens
        with pytest.raises(
            EngineError, match=r"a `std` with 1 pictures has 19 tokens for the trainer and 103 for http.*limits"
        ) as error:
            asked(started(server), prompt)
        assert not error.value.retryable
        assert len(server.completions) == 1


def test_another_prompt_is_an_error() -> None:
    with fleet(1, misread=lambda ids: [*ids[:-1], 7]) as [server], pytest.raises(EngineError, match="differ first at token 1"):
        asked(started(server), Prompt(ids=(1, 2)))


def test_a_server_without_scale_out_takes_no_pictures() -> None:
    with fleet(1, scale_out=False, eye=Eye(image_id=IMAGE)) as [server], pytest.raises(EngineError, match="enable-scale-out"):
        asked(started(server), pictured((56, 56)))


# -- servers --------------------------------------------------------------------------------------------------------------


def test_the_attempts_of_a_group_have_one_server_and_seeds_of_their_own() -> None:
    with fleet(3) as servers:
        asks = prompts(40, 2)
        said = asked(started(*servers), *asks)
        homes = {(prompt.group, one.server) for prompt, one in zip(asks, said, strict=True)}
        assert len(homes) == 40
        assert len({home for _, home in homes}) == 3
        assert len({body["seed"] for server in servers for body in server.completions}) == 80
        assert len({one.ids for one in said if len(one.ids) > 2}) == sum(len(one.ids) > 2 for one in said)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("settings", [{}, {"latency": lambda name: 0.001 * (crc32(name.encode()) % 5)}, {"max_num_seqs": 1}])
def test_what_is_said_depends_on_no_server_latency_or_limit(count: int, settings: dict[str, Any]) -> None:
    expected = [tuple(LONG(one.ids, seed=one.seed, weights="0/", max_tokens=12).ids) for one in prompts()]
    with fleet(count, **settings) as servers:
        for concurrency in (1, 16):
            assert [one.ids for one in asked(started(*servers, concurrency=concurrency), *prompts())] == expected


def test_no_more_requests_are_under_way_than_was_said() -> None:
    with fleet(1, latency=0.01) as [server]:
        most = 0
        engine = started(server, concurrency=3)

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, len(server.state.running))
                await asyncio.sleep(0.002)

        async def run() -> None:
            watcher = asyncio.create_task(watch())
            await asyncio.gather(*map(engine.complete, prompts(3, 4)))
            watcher.cancel()

        asyncio.run(run())
        assert 1 <= most <= 3


def test_what_a_dead_server_owed_is_said_by_another_word_for_word() -> None:
    with fleet(3) as whole:
        undisturbed = [one.ids for one in asked(started(*whole), *prompts(40, 1))]
    with fleet(2) as servers, FakeVllmServer(sampler=LONG, drop_after=3) as dying:
        engine = started(*servers, dying)
        said = asked(engine, *prompts(40, 1))
        assert [one.ids for one in said] == undisturbed
        assert 0 < sum(one.server == dying.url for one in said) <= 3
        assert asked(engine, *prompts(1, 1))  # it is asked again in the next batch, and passed over again


def test_the_last_server_that_dies_fails_its_requests_as_the_worlds_fault() -> None:
    with fleet(1, drop_after=0) as [server]:
        engine = HttpEngine(servers=(server.url,), weights="fixed", model="policy")
        with pytest.raises(EngineError, match="no connection") as error:
            engine.start(Host())  # type: ignore[arg-type]
        assert error.value.retryable


@pytest.mark.parametrize("status", [503, 429])
def test_a_busy_server_is_asked_again(status: int) -> None:
    with fleet(1, failures={0: status, 1: status}) as [server]:
        assert asked(started(server), Prompt(ids=(1,)))[0].ids
        assert len(server.completions) == 3
        assert len({json.dumps(one) for one in server.completions}) == 1  # the same request, seed and all
    with fleet(1, failures=dict.fromkeys(range(3), status)) as [server], pytest.raises(EngineError) as error:
        asked(started(server), Prompt(ids=(1,)))
    assert error.value.retryable


def test_a_prompt_that_is_too_long_is_never_asked_again() -> None:
    with fleet(1, max_model_len=20) as [server]:
        wanted = r"20 tokens.*prompt of a `draft` has 15 tokens and may get 8 more.*--max-model-len.*objective.max_tokens"
        with pytest.raises(EngineError, match=wanted) as error:
            asked(started(server), Prompt(ids=(1,) * 15, max_tokens=8, role="draft"))
        assert not error.value.retryable
        assert len(server.completions) == 1


def test_a_request_that_takes_too_long_is_given_up_at_the_server_too() -> None:
    with fleet(1, latency=30) as [server]:
        engine = started(server, timeout_s=0.1, tries=2)
        began = time.monotonic()
        with pytest.raises(EngineError, match=r"did not answer in 0.1 s") as error:
            asked(engine, Prompt(ids=(1,)))
        assert error.value.retryable
        assert time.monotonic() - began < 5
        _until(lambda: server.aborted == 2 and not server.state.running)


def test_a_cancelled_request_leaves_nothing_behind() -> None:
    with fleet(1, latency=30) as [server]:
        engine = started(server)

        async def give_up() -> None:
            tasks = [asyncio.create_task(engine.complete(one)) for one in prompts(2, 2)]
            while len(server.state.running) < 4:
                await asyncio.sleep(0.005)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run(give_up())
        _until(lambda: server.busy == 0 and not server.state.running)


def _until(there: Any) -> None:
    end = time.monotonic() + 5
    while not there():
        assert time.monotonic() < end
        time.sleep(0.005)


# -- weights ----------------------------------------------------------------------------------------------------------------


def test_every_version_is_an_adapter_under_a_new_name(tmp_path: Path) -> None:
    with fleet(2) as servers:
        host = Host(tmp_path, lora=True)
        engine = started(*servers, host=host, weights="adapter")
        texts = []
        for version in range(4):
            host.weights = f"weights {version}"
            for _ in range(3):  # rounds, evaluation: the same weights are not sent again
                with engine.batch(version):
                    texts.append(asyncio.run(engine.complete(Prompt(ids=(1, 2), seed=1, max_tokens=12))).ids)
        for server in servers:
            names = loaded(server)
            assert [one.partition("-")[0] for one in names] == ["v1", "v2", "v3", "v4"]
            assert not any(one["load_inplace"] for one in server.sent("/v1/load_lora_adapter"))
            assert list(server.state.adapters) == names[2:]
            assert server.state.updates == 0
        assert len(set(texts)) == 4
        assert sorted(one.name for one in (tmp_path / "adapters").glob("*/*.safetensors")) == ["adapter_model.safetensors"] * 2


def loaded(server: FakeVllmServer) -> list[str]:
    return [str(one["lora_name"]) for one in server.sent("/v1/load_lora_adapter")]


def test_no_name_is_used_again_by_a_resumed_run_or_by_another(tmp_path: Path) -> None:
    with fleet(1) as [server]:
        for folder in ("a", "a", "b"):
            engine = started(server, host=Host(tmp_path / folder, lora=True), weights="adapter")
            for version in range(3):
                with engine.batch(version):
                    pass
        numbers = [one.partition("-")[0] for one in loaded(server)]
        assert numbers == ["v1", "v2", "v3", "v4", "v5", "v6", "v1", "v2", "v3"]
        assert len(set(loaded(server))) == 9


def test_a_server_that_is_gone_is_left_out_and_one_that_came_back_gets_the_next_adapter(tmp_path: Path) -> None:
    with fleet(2) as servers:
        engine = started(*servers, host=Host(tmp_path, lora=True), weights="adapter")
        servers[1].settings.drop_after = 0
        with engine.batch(0):
            assert {asyncio.run(engine.complete(one)).server for one in prompts(30, 1)} == {servers[0].url}
        servers[1].settings.drop_after = None
        with engine.batch(1):
            assert {asyncio.run(engine.complete(one)).server for one in prompts(30, 1)} == {one.url for one in servers}


def test_a_server_that_takes_no_adapters_says_how_to_start_it(tmp_path: Path) -> None:
    with fleet(1, lora_updating=False) as [server]:
        engine = started(server, host=Host(tmp_path, lora=True), weights="adapter")
        with pytest.raises(EngineError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"), engine.batch(0):
            pass


def test_an_adapter_that_a_server_did_not_take_is_found_by_its_name(tmp_path: Path) -> None:
    with fleet(1, deaf=True) as [server]:
        engine = started(server, host=Host(tmp_path, lora=True), weights="adapter")
        with pytest.raises(EngineError, match=r"does not serve adapter `v1-\w+` after it was sent"), engine.batch(0):
            pass


def test_weights_of_a_transfer_answer_at_once() -> None:
    with fleet(1) as [server]:
        replica, engine = Replica(server.url), started(server)
        before = asked(engine, Prompt(ids=(1, 2), seed=1, max_tokens=12))

        async def push() -> None:
            await replica.pause()
            await replica.update_weights([{"names": ["a"]}], version="7")
            await replica.resume()

        asyncio.run(push())
        assert asked(engine, Prompt(ids=(1, 2), seed=1, max_tokens=12)) != before
        assert (server.state.updates, server.state.weight_version, server.state.open.is_set()) == (1, "7", True)


# -- settings -----------------------------------------------------------------------------------------------------------------


def test_a_whole_policy_does_not_travel_by_adapters() -> None:
    with fleet(1) as [server], pytest.raises(ConfigError, match=r'set engine.weights = "whole", or policy.lora'):
        started(server, weights="adapter")


def test_a_second_vllm_in_the_process_is_refused() -> None:
    host = Host()
    host.use_vllm = True
    with pytest.raises(ConfigError, match=r"set trl\.use_vllm = false"):
        HttpEngine(weights="fixed").start(host)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "said"),
    [({"servers": ()}, "at least one"), ({"servers": ("http://a", "http://a")}, "once"), ({"tries": 0}, r"engine\.tries is 0")],
)
def test_settings_that_cannot_be_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        HttpEngine(**options)
