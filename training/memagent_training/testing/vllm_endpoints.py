"""The endpoints of `vllm serve` as functions of a server's state, in two dialects.

Paths and bodies are those of vLLM 0.31 and 0.33 (`vllm/entrypoints/serve`). What differs between the two: who asks for
`/inference/v1/generate` without `--enable-scale-out` gets 404 or 403; log-probabilities name a token as text or as number;
only 0.33 says which weights sampled each token, refuses new requests while it is paused, and takes weights in several parts.
What vLLM has computed stays until the prefix cache is reset: a prompt that was asked before is answered by the weights it was
then read with, and so it is by an adapter that changes under its name.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from memagent_training.testing.broadcast import LocalBroadcast
from memagent_training.testing.vllm_rule import PromptPicture, Sampled, expand
from memagent_training.testing.vllm_settings import Json, Refused, ServerSettings


class State:
    """What a server knows while it runs."""

    def __init__(self, settings: ServerSettings) -> None:
        self.of = settings
        self.open = asyncio.Event()
        self.open.set()
        self.slots = asyncio.Semaphore(settings.max_num_seqs)
        self.refusing = False
        self.asleep = 0
        """Level of the sleep; 0: awake."""
        self.lost = False
        self.updates = 0
        """Weight updates that were finished."""
        self.weight_version = "default"
        self.adapters: dict[str, str] = {}
        """Digest of each adapter by its name."""
        self.read_with: dict[tuple[str, str], str] = {}
        """By model and prompt, the weights that its cached prefix was computed with."""
        self.number = 0
        """Requests for completions so far."""
        self.running: dict[str, asyncio.Task[Any]] = {}
        self.updating = False
        self.group: tuple[LocalBroadcast, int] | None = None
        """Where weights come from, and this server's rank there."""
        self.received: dict[str, Any] = {}
        """The whole weights that came last, by name."""

    # -- completions ----------------------------------------------------------------------------------------------------

    async def generate(self, body: Json) -> Json:
        """`POST /inference/v1/generate`"""
        if not self.of.scale_out:
            raise Refused(404 if self.of.dialect == "0.31" else 403, "start the server with --enable-scale-out")
        parts, features = body.get("content_parts"), body.get("features")
        if parts and features:
            raise Refused(400, "content_parts and features exclude each other")
        ids = list(body["token_ids"])
        places: list[tuple[int, int]] = []
        pictures: list[PromptPicture] = []
        if parts:
            pictures = [PromptPicture.of(image) for image in _images(parts)]
            ids, places = self._expanded(ids, pictures)
        elif features:
            pictures, places = self._featured(ids, features)
        params, name = body.get("sampling_params", {}), body.get("request_id") or f"request-{self.number}"
        ids = self.of.misread(ids)
        said = await self._sampled(name, body.get("model"), ids, pictures, params)
        reply: Json = {"request_id": name, "choices": [self._choice(said, params)]}
        if params.get("return_token_ids") or body.get("return_token_ids"):
            reply |= {"prompt_token_ids": ids, "mm_placeholders": {"image": _ranges(places)}}
        return reply

    async def completions(self, body: Json) -> Json:
        """`POST /v1/completions`, with a prompt of token ids."""
        prompt = body["prompt"]
        prompts = [prompt] if prompt and isinstance(prompt[0], int) else prompt
        choices = []
        for index, ids in enumerate(prompts):
            read = self.of.misread(list(ids))
            said = await self._sampled(body.get("request_id") or f"cmpl-{self.number}", body.get("model"), read, [], body)
            choice: Json = {
                "index": index,
                "text": "",
                "logprobs": None,
                "finish_reason": "stop" if said.finished else "length",
            }
            if body.get("return_token_ids"):
                choice |= {"token_ids": said.ids, "prompt_token_ids": read}
            if body.get("logprobs") is not None:
                names = [f"token_id:{one}" for one in said.ids]
                choice["logprobs"] = {
                    "tokens": names,
                    "token_logprobs": said.logprobs,
                    "top_logprobs": [{name: score} for name, score in zip(names, said.logprobs, strict=True)],
                }
            choices.append(choice)
        return {"object": "text_completion", "model": body.get("model"), "choices": choices}

    def render(self, body: Json) -> Json:
        """`POST /v1/chat/completions/render`: the pictures of a conversation, prepared."""
        parts = [part for message in body["messages"] if isinstance(message["content"], list) for part in message["content"]]
        pictures = [PromptPicture.of(image) for image in _images(part for part in parts if part["type"] == "image_url")]
        assert self.of.eye is not None, "this model does not see"
        ids, places = self._expanded([self.of.eye.image_id] * len(pictures), pictures)
        data = [json.dumps([one.width, one.height, one.digest.hex()]) for one in pictures]
        features = {
            "mm_hashes": {"image": [one.digest.hex() for one in pictures]},
            "mm_placeholders": {"image": _ranges(places)},
            "kwargs_data": {"image": [base64.b64encode(one.encode()).decode() for one in data]},
        }
        return {"token_ids": ids, "features": features}

    def _expanded(self, ids: list[int], pictures: list[PromptPicture]) -> tuple[list[int], list[tuple[int, int]]]:
        if self.of.eye is None:
            raise Refused(400, f"{self.of.model} is not a multimodal model")
        try:
            lengths = [self.of.eye.tokens(one.width, one.height) for one in pictures]
            return expand(ids, lengths, image_id=self.of.eye.image_id)
        except ValueError as error:
            raise Refused(400, str(error)) from None

    def _featured(self, ids: list[int], features: Json) -> tuple[list[PromptPicture], list[tuple[int, int]]]:
        """Prepared pictures stand where they are said to; 0.33 looks whether image tokens are there."""
        told = [json.loads(base64.b64decode(one)) for one in features["kwargs_data"]["image"]]
        places = [(one["offset"], one["length"]) for one in features["mm_placeholders"]["image"]]
        assert self.of.eye is not None, "this model does not see"
        fits = all(set(ids[at : at + length]) == {self.of.eye.image_id} for at, length in places)
        if self.of.dialect == "0.33" and not fits:
            raise Refused(400, "mm_placeholders do not lie on image tokens")
        return [PromptPicture(width, height, bytes.fromhex(digest)) for width, height, digest in told], places

    async def _sampled(
        self, name: str, model: str | None, ids: list[int], pictures: list[PromptPicture], params: Json
    ) -> Sampled:
        number, self.number = self.number, self.number + 1
        if number in self.of.failures:
            raise Refused(self.of.failures[number], "injected")
        longest = self.of.max_model_len - params.get("max_tokens", 16)
        if len(ids) > longest:
            message = (
                f"This model's maximum context length is {self.of.max_model_len} tokens. However, you requested "
                f"{params.get('max_tokens', 16)} output tokens and your prompt contains {len(ids)} input tokens."
            )
            raise Refused(400, message)
        if self.refusing:
            raise Refused(503, "generation is paused")
        task = asyncio.current_task()
        assert task is not None
        self.running[name] = task
        try:
            async with self.slots:
                await self.open.wait()
                latency = self.of.latency
                await asyncio.sleep(latency(name) if callable(latency) else latency)
                return self._say(model or self.of.model, ids, pictures, params, number)
        finally:
            self.running.pop(name, None)

    def _say(self, model: str, ids: list[int], pictures: list[PromptPicture], params: Json, number: int) -> Sampled:
        if self.asleep or self.lost:
            raise Refused(500, "the engine sleeps" if self.asleep else "the weights were discarded by a sleep of level 2")
        if model != self.of.model and model not in self.adapters:
            raise Refused(404, f"The model `{model}` does not exist.")
        weights = f"{self.updates}/{self.adapters.get(model, '')}"
        prompt = hashlib.blake2b(repr((ids, [one.digest for one in pictures])).encode(), digest_size=16).hexdigest()
        said = self.of.sampler(
            ids,
            pictures,
            seed=f"unseeded {number}" if params.get("seed") is None else params["seed"],
            weights=self.read_with.setdefault((model, prompt), weights),
            max_tokens=params.get("max_tokens", 16),
            temperature=params.get("temperature", 1.0),
            raw=self.of.logprobs_mode == "raw_logprobs",
        )
        if params.get("top_k") == 1 and self.of.logprobs_mode == "processed_logprobs":  # one token is left, and is certain
            return replace(said, logprobs=[0.0] * len(said.ids))
        return said

    def _choice(self, said: Sampled, params: Json) -> Json:
        newer = self.of.dialect == "0.33"
        reason = "stop" if said.finished else "length"
        choice: Json = {"index": 0, "finish_reason": reason, "token_ids": said.ids, "logprobs": None}
        if params.get("logprobs") is not None:
            content = []
            for token, score in zip(said.ids, said.logprobs, strict=True):
                entry: Json = {"token": f"token_id:{token}", "logprob": score, "bytes": None, "top_logprobs": []}
                content.append(entry | ({"token_id": token, "rank": 1} if newer else {}))
            choice["logprobs"] = {"content": content}
        if newer:
            spans = [{"version": self.weight_version, "start": 0, "end": len(said.ids)}]
            choice |= {"stop_reason": None, "weight_versions": spans}
        return choice

    # -- control --------------------------------------------------------------------------------------------------------

    async def pause(self, query: Mapping[str, str]) -> Json:
        """`POST /pause?mode=abort|wait|keep`"""
        mode = query.get("mode", "abort")
        if mode not in ("abort", "wait", "keep"):
            raise Refused(422, f"mode is {mode!r}")
        self.refusing = self.of.dialect == "0.33" and mode != "keep"
        if mode == "abort":
            self._abort(list(self.running))
        while mode == "wait" and self.running:
            await asyncio.sleep(0.005)
        if mode != "keep":
            self.read_with.clear()
        self.open.clear()
        return {"status": "paused"}

    def resume(self) -> Json:
        """`POST /resume`"""
        self.refusing = False
        self.open.set()
        return {"status": "resumed"}

    def abort(self, body: Json) -> Json:
        """`POST /abort_requests`; without ids, all."""
        names = body.get("request_ids") or list(self.running)
        self._abort(names)
        return {"status": "aborted", "aborted": len(names)}

    def _abort(self, names: list[str]) -> None:
        for name in names:
            if name in self.running:
                self.running[name].cancel("aborted")

    def sleep(self, query: Mapping[str, str]) -> Json:
        """`POST /sleep?level=1|2`"""
        self.asleep = int(query.get("level", "1"))
        self.lost = self.lost or self.asleep == 2
        return {}

    def wake_up(self) -> Json:
        """`POST /wake_up`; the tags in the query are taken as given."""
        self.asleep = 0
        return {}

    def load_adapter(self, body: Json) -> Json:
        """`POST /v1/load_lora_adapter`: a folder that PEFT has written."""
        name, folder = body["lora_name"], Path(body["lora_path"])
        if not self.of.lora_updating:
            raise Refused(404, "Not Found")
        if name in self.adapters and not body.get("load_inplace"):
            raise Refused(400, f"The lora adapter '{name}' has already been loaded.")
        if not (folder / "adapter_config.json").is_file():
            raise Refused(404, f"No adapter found for {folder}")
        rank = json.loads((folder / "adapter_config.json").read_text("utf-8")).get("r", 8)
        if rank > self.of.max_lora_rank:
            raise Refused(400, f"LoRA rank {rank} is greater than max_lora_rank {self.of.max_lora_rank}.")
        if self.of.deaf:
            return {"message": f"Success: LoRA adapter '{name}' added successfully."}
        weights = b"".join(path.read_bytes() for path in sorted(folder.glob("adapter_model.*")))
        self.adapters[name] = hashlib.blake2b(weights, digest_size=8).hexdigest()
        return {"message": f"Success: LoRA adapter '{name}' added successfully."}

    def unload_adapter(self, body: Json) -> Json:
        """`POST /v1/unload_lora_adapter`"""
        if body["lora_name"] not in self.adapters:
            raise Refused(404, f"The lora adapter '{body['lora_name']}' cannot be found.")
        del self.adapters[body["lora_name"]]
        return {"message": "Success"}

    def init_transfer(self, body: Json) -> Json:
        """`POST /init_weight_transfer_engine`; a group of this program is joined."""
        info = body["init_info"]
        if not self.of.weight_transfer:
            raise Refused(500, "Weight transfer is not configured. Please set weight_transfer_config.")
        if (group := LocalBroadcast.groups.get(info.get("master_port"))) is not None:
            self.group = group, info["rank_offset"]
            group.join(info["rank_offset"])
        return {"message": "Weight transfer initialized"}

    def start_update(self) -> Json:
        """`POST /start_weight_update`"""
        self.updating = True
        return {"message": "Weight update started"}

    async def update(self, body: Json) -> Json:
        """`POST /update_weights`; several parts at once only in 0.33. Answers when what was told of has come."""
        if body.get("update_info") is None:
            raise Refused(400, "Missing 'update_info' in request body")
        if isinstance(body["update_info"], list) and self.of.dialect != "0.33":
            raise Refused(422, "update_info is an object")
        if not self.updating:
            raise Refused(500, "start_weight_update comes first")
        if self.group is not None:
            await self._receive(*self.group, body["update_info"])
        self.lost = False
        return {"message": "Weights updated"}

    async def _receive(self, group: LocalBroadcast, rank: int, told: Json) -> None:
        """Take what is sent, which must be what was told of: a server sizes its buffers by that."""
        while (sent := group.take(rank)) is None:
            await asyncio.sleep(0.002)
        wanted = list(zip(told["names"], told["dtype_names"], map(tuple, told["shapes"]), strict=True))
        found = [(name, str(one.dtype).removeprefix("torch."), tuple(one.shape)) for name, one in sent]
        if wanted != found:
            raise Refused(500, f"{len(found)} weights came that are not the {len(wanted)} of update_info")
        if not self.of.deaf:
            self.received = dict(sent)

    def finish_update(self, body: Json) -> Json:
        """`POST /finish_weight_update`; the version is a name that the trainer gives."""
        if not self.updating:
            raise Refused(500, "start_weight_update comes first")
        self.updating = False
        if self.of.deaf:
            return {"message": "Weight update finished"}
        self.updates += 1
        self.weight_version = body.get("weight_version") or self.weight_version
        return {"message": "Weight update finished"}

    def reset(self) -> Json:
        """`POST /reset_prefix_cache` and the caches of pictures."""
        self.read_with.clear()
        return {}

    def models(self) -> Json:
        """`GET /v1/models`"""
        base = {"id": self.of.model, "object": "model", "max_model_len": self.of.max_model_len, "parent": None}
        adapters = [{"id": name, "object": "model", "parent": self.of.model} for name in self.adapters]
        return {"object": "list", "data": [base, *adapters]}

    def info(self) -> Json:
        """`GET /server_info?config_format=json`"""
        of = self.of
        lora = {"max_loras": of.max_loras, "max_lora_rank": of.max_lora_rank} if of.lora_updating else None
        config = {
            "model_config": {
                "model": of.model,
                "dtype": of.dtype,
                "logprobs_mode": of.logprobs_mode,
                "max_model_len": of.max_model_len,
            },
            "scheduler_config": {"max_num_seqs": of.max_num_seqs},
            "lora_config": lora,
            "weight_transfer_config": {"backend": "nccl"} if of.weight_transfer else None,
        }
        return {"vllm_config": config}


def _images(parts: Iterable[Json]) -> Iterator[Any]:
    """The pictures of content parts, which come as data URLs: under `url`, or in a chat under `image_url`."""
    from PIL import Image

    for part in parts:
        _, _, data = str(part["url"] if "url" in part else part["image_url"]["url"]).partition(";base64,")
        yield Image.open(io.BytesIO(base64.b64decode(data)))


def _ranges(places: list[tuple[int, int]]) -> list[Json]:
    return [{"offset": offset, "length": length} for offset, length in places]
