"""Between requests and token ids: what a policy's tokenizer and image processor make of a conversation.

A policy with a chat template is prompted as `memagent.models.transformers_vlm` prompts it, pictures and all, so that what was
trained is what is later served. A tokenizer without a template (the tiny policies) gets the texts of the messages, joined.
Texts are untrusted: a special token that is spelt out in one is no special token, on either way.
Prompts are encoded one by one and padded here; pictures stay PNG bytes until tensors are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from memagent.errors import ConfigError, InputError
from memagent.models.base import Request
from memagent.models.hf_processor import HfInput, HfTokens, config_pricing
from memagent.types import ImagePart
from memagent_renderers.budget import processor_limits
from memagent_training.engines.base import Completion, Prompt


def picture_limits(config: Any) -> dict[str, dict[str, int]]:
    """What every image processor of a run is told, the sampler's too: pictures stay as they are within the sizes of the reader
    that they are drawn for. The argument `mm_processor_kwargs` of vLLM."""
    return processor_limits(config_pricing(config))


class PolicyTokenizer:
    """Encodes for one policy. `processing` is its tokenizer, or its processor when it sees."""

    def __init__(self, processing: Any, config: Any) -> None:
        self._tokenizer = getattr(processing, "tokenizer", processing)
        self._images = getattr(processing, "image_processor", None)
        if self._tokenizer.pad_token_id is None or self._tokenizer.eos_token_id is None:
            raise ConfigError("the policy's tokenizer needs a pad token and an end token; set both before training")
        self.pad_id: int = int(self._tokenizer.pad_token_id)
        self._image_id = int(getattr(config, "image_token_id", -1) or -1)
        if self._images is not None:
            if not hasattr(self._images, "merge_size"):
                raise ConfigError(
                    f"a policy that sees is of the Qwen-VL family, not a {config.model_type}; "
                    "see `memagent_training.processors`"
                )
            self._images.size = picture_limits(config)["size"]
        self._input: HfInput | None = None
        if self._tokenizer.chat_template:
            tokens = HfTokens(self._tokenizer, name=str(getattr(config, "name_or_path", "") or "the policy"))
            self._input = HfInput(tokens, config, self._images)

    def encode(self, request: Request, *, attempt: int = 0) -> Prompt:
        """The request as token ids. Raises `InputError` for a picture shown to a policy that does not see."""
        images = tuple(part.data for message in request.messages for part in message.images)
        if images and self._images is None:
            raise InputError("the policy does not see pictures; train a vision-language model or leave pictures out")
        places: tuple[tuple[int, int], ...] = ()
        if self._input is None:
            text = "".join(message.text for message in request.messages)
            ids = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        else:
            inputs = self._input.encode(request.messages)[0]
            ids = inputs["input_ids"][0].tolist()
            if images:
                places = self._picture_places(ids, inputs["image_grid_thw"].prod(-1).tolist())
        if not ids:
            raise InputError("an episode asked the policy with an empty prompt; give its first message some text")
        return Prompt(ids=tuple(ids), images=images, places=places, max_tokens=request.max_tokens, attempt=attempt)

    def _picture_places(self, ids: Sequence[int], patches: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """Where each picture stands: by what each costs, not by runs of its token, which may touch."""
        there = [at for at, one in enumerate(ids) if one == self._image_id]
        places, start = [], 0
        merged = cast("Any", self._images).merge_size ** 2  # patches that one token shows
        for count in patches:
            length = count // merged
            places.append((there[start], length))
            start += length
        return tuple(places)

    def usable(self, said: Completion) -> Completion:
        """What was sampled, cut before a token that stands for a picture: no forward pass takes one without its pixels."""
        if self._image_id not in said.ids:
            return said
        end = said.ids.index(self._image_id)
        return Completion(ids=said.ids[:end], logprobs=said.logprobs and said.logprobs[:end], finished=False)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens left out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def tensors(self, prompts: Sequence[Prompt], *, device: Any) -> dict[str, Any]:
        """What `generate` takes for a batch: ids and mask of shape (B, P), left-padded, and the pictures' tensors."""
        import torch

        width = max(len(prompt.ids) for prompt in prompts)
        ids = torch.tensor([[self.pad_id] * (width - len(prompt.ids)) + [*prompt.ids] for prompt in prompts])  # (B, P)
        mask = torch.tensor([[0] * (width - len(prompt.ids)) + [1] * len(prompt.ids) for prompt in prompts])  # 1 = real token
        batch = {"input_ids": ids, "attention_mask": mask}
        images = [png for prompt in prompts for png in prompt.images]
        if images:
            batch |= {**self.pixels(images), "mm_token_type_ids": self.places(ids)}
        return {name: value.to(device) for name, value in batch.items()}

    def pixels(self, images: Sequence[bytes]) -> dict[str, Any]:
        """`pixel_values` (patches, D) and `image_grid_thw` (images, 3) of PNG files.

        Raises `InputError` for a policy without a chat template.
        """
        if self._input is None:
            raise InputError("a policy that sees needs a chat template; this tokenizer has none")
        return self._input.look([ImagePart(data=png) for png in images])[0]

    def places(self, ids: Any) -> Any:
        """1 where a token stands for a patch of a picture, else 0; the shape of `ids`."""
        return (ids == self._image_id).long()
