"""From messages to the tensors that a transformers model takes.

Pictures for models of the Qwen-VL family are brought to size by `qwen-vl-utils` where it can be imported (it needs
torchvision), else by the PIL image processor of transformers, which cuts them into patches in either case; placeholders
are expanded here, because the general processor of these models insists on torchvision for videos that we never show.
Both get the reader's own floor and ceiling as limits, so a picture whose sides are multiples of the cell (28 px for
Qwen2-VL and Qwen2.5-VL, 32 px for Qwen3-VL) goes in unchanged and costs (width / cell) x (height / cell) tokens.
Other vision-language models use the processor they ship with, which may resize.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any, cast

from PIL import Image

from memagent.errors import ConfigError, InputError, ModelError
from memagent.models.convert import escape_special_tokens, open_picture
from memagent.types import ImagePart, Message
from memagent_renderers.budget import processor_limits
from memagent_renderers.pricing import ImagePricing, PatchPricing, pricing_for


class HfTokens:
    """A tokenizer behind a lock (Rust tokenizers refuse to be shared by threads), with a cache of counts."""

    def __init__(self, tokenizer: Any, *, name: str) -> None:
        self.tokenizer = tokenizer
        self.pad: int | None = tokenizer.pad_token_id
        self.end: int | None = tokenizer.eos_token_id
        self._lock = threading.RLock()
        special = sorted({*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}, key=len, reverse=True)
        self._special = re.compile("|".join(re.escape(mark) for mark in special if len(mark) > 1) or r"(?!)")
        self._cached = lru_cache(maxsize=4096)(lambda text: len(self.encode(text)))
        if not tokenizer.chat_template:
            raise ConfigError(f"`{name}` has no chat template: it is a base model, no chat model")

    def clean(self, text: str) -> str:
        """`text` with every special token of this model broken by a space."""
        return self._special.sub(lambda match: f"{match[0][0]} {match[0][1:]}", escape_special_tokens(text))

    def count(self, text: str) -> int:
        """Tokens of a standalone text."""
        return self._cached(self.clean(text)) if text else 0

    def encode(self, text: str) -> list[int]:
        """Token ids; special tokens in the text are taken as such, none are added."""
        with self._lock:
            # Lone surrogates have no bytes to tokenize; they become question marks.
            plain = text.encode("utf-8", "replace").decode("utf-8")
            return list(self.tokenizer(plain, add_special_tokens=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, special tokens left out."""
        with self._lock:
            return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def templated(self, conversation: list[dict[str, Any]]) -> str:
        """The prompt, up to where the assistant speaks."""
        from jinja2 import TemplateError

        try:
            with self._lock:
                prompt = self.tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            raise ModelError(f"the model's chat template refuses this conversation: {error}") from error
        return str(prompt)


class HfInput:
    """Makes the inputs of one model. `processor` is None for a model that does not see."""

    def __init__(self, tokens: HfTokens, config: Any, processor: Any) -> None:
        self._tokens = tokens
        self._processor = processor
        self._by_hand = _is_qwen(config)
        self._image_id = int(getattr(config, "image_token_id", getattr(config, "image_token_index", -1)) or -1)
        self._lock = threading.Lock()

    def encode(self, messages: Sequence[Message]) -> tuple[dict[str, Any], int]:
        """Tensors of shape (1, ...) by name, and how many of the prompt's tokens are visual."""
        import torch

        parts = [part for message in messages for part in message.images]
        conversation = [self._turn(message) for message in messages]
        if parts and not self._by_hand:
            return self._by_processor(conversation, parts)
        prompt = self._tokens.templated(conversation)
        seen, costs = self.look(parts) if parts else ({}, [])
        if parts:  # each picture's placeholder is repeated for each of its visual tokens
            mark = str(self._tokens.tokenizer.convert_ids_to_tokens(self._image_id))
            first, *rest = prompt.split(mark)
            if len(rest) != len(costs):
                raise ModelError(f"the model's chat template has {len(rest)} places for {len(costs)} pictures")
            prompt = first + "".join(mark * cost + text for cost, text in zip(costs, rest, strict=True))
        ids = torch.tensor([self._tokens.encode(prompt)])  # (1, prompt)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **seen}
        if self._by_hand and parts:
            inputs["mm_token_type_ids"] = ids.eq(self._image_id).int()  # 1 where a picture stands
        return inputs, sum(costs)

    def look(self, parts: Sequence[ImagePart]) -> tuple[dict[str, Any], list[int]]:
        """Pixels and grid of all pictures, and the visual tokens of each."""
        pictures = [open_picture(part).convert("RGB") for part in parts]
        try:
            with self._lock:
                if fetch := qwen_fetch_image():
                    size = self._processor.size  # of pixels, not sides, whatever the names say
                    limits = {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}
                    patch = self._processor.patch_size
                    pictures = [fetch({"image": picture, **limits}, image_patch_size=patch) for picture in pictures]
                seen = self._processor(images=pictures, return_tensors="pt")
        except ValueError as error:
            raise InputError(f"the model cannot take this picture: {error}") from error
        merged = self._processor.merge_size**2
        costs = [int(grid.prod()) // merged for grid in seen["image_grid_thw"]]
        return {"pixel_values": seen["pixel_values"], "image_grid_thw": seen["image_grid_thw"]}, costs

    def _turn(self, message: Message) -> dict[str, Any]:
        role = "user" if message.role == "tool" else message.role
        if not message.images:
            return {"role": role, "content": self._tokens.clean(message.text)}
        content = [
            {"type": "image"} if isinstance(part, ImagePart) else {"type": "text", "text": self._tokens.clean(part.text)}
            for part in message.content
            if not isinstance(part, str)
        ]
        return {"role": role, "content": content}

    def _by_processor(self, conversation: list[dict[str, Any]], parts: Sequence[ImagePart]) -> tuple[dict[str, Any], int]:
        """The model's own processor, whatever it does to pictures."""
        pictures = [open_picture(part).convert("RGB") for part in parts]
        with self._lock:
            prompt = self._processor.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
            inputs = self._processor(text=[prompt], images=pictures, return_tensors="pt", add_special_tokens=False)
        return dict(inputs), int(inputs["input_ids"].eq(self._image_id).sum())


@cache
def qwen_fetch_image() -> Callable[..., Image.Image] | None:
    """`fetch_image` of qwen-vl-utils; None where that, or the torchvision that fits this torch, is not installed."""
    try:
        from qwen_vl_utils import fetch_image
    except (ImportError, RuntimeError):  # a torchvision built for another torch fails with the latter
        return None
    return cast("Callable[..., Image.Image]", fetch_image)


def config_pricing(config: Any) -> ImagePricing:
    """The picture price of a model: its patch times its merge for the Qwen-VL family, else by its type."""
    vision = getattr(config, "vision_config", None)
    if not _is_qwen(config) or vision is None:
        return pricing_for(str(config.model_type))
    return PatchPricing(cell=int(vision.patch_size) * int(vision.spatial_merge_size))


def picture_processor(name: str, config: Any, pricing: ImagePricing, *, local_files_only: bool) -> Any:
    """What turns pictures into tensors for this model, at the price said."""
    import transformers

    if not _is_qwen(config):
        return transformers.AutoProcessor.from_pretrained(name, local_files_only=local_files_only)
    processor = transformers.AutoImageProcessor.from_pretrained(name, backend="pil", local_files_only=local_files_only)
    # set after loading: a `min_pixels` in the model's own file would win over a `size` given to the loader
    processor.size = processor_limits(pricing)["size"]
    return processor


def _is_qwen(config: Any) -> bool:
    return bool(re.fullmatch(r"qwen(?:2|2_5|3|3_5)(?:_vl)?(?:_moe)?", str(config.model_type))) and hasattr(
        config, "image_token_id"
    )
