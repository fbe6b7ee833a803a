"""Processors for policies that see, without torchvision.

transformers' processors of the Qwen-VL family insist on a video processor, which insists on torchvision; we show no videos.
A processor finds its parts in the signature of its constructor, so a subclass whose constructor names no video processor is
the same code without that part. It keeps the class's name: what is saved can be loaded by the full class elsewhere.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from memagent.errors import ConfigError
from memagent.models.hf_processor import config_pricing, picture_processor

FAMILIES = {
    "qwen2_vl": "Qwen2VLProcessor",
    "qwen2_5_vl": "Qwen2_5_VLProcessor",
    "qwen3_vl": "Qwen3VLProcessor",
    "qwen3_vl_moe": "Qwen3VLProcessor",
    "qwen3_5": "Qwen3VLProcessor",
    "qwen3_5_moe": "Qwen3VLProcessor",
}
"""Processor classes by `model_type`: the models whose pictures we can keep at the size they have."""


@cache
def pictures_only(name: str) -> Any:
    """The processor class `name` of transformers, of an image processor and a tokenizer alone."""
    import transformers

    real = getattr(transformers, name)

    def construct(self: Any, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None) -> None:
        real.__init__(self, image_processor, tokenizer, None, chat_template=chat_template)

    return type(name, (real,), {"__init__": construct, "__module__": __name__})


def load_processor(path: str) -> Any:
    """The processor of a checkpoint, which passes pictures at our readers' sizes unchanged.

    Raises `ConfigError` for a model that is not of the Qwen-VL family.
    """
    import transformers

    config = transformers.AutoConfig.from_pretrained(path)
    if config.model_type not in FAMILIES:
        raise ConfigError(
            f"`{path}` is a {config.model_type}; policies that see are of the Qwen-VL family: {', '.join(FAMILIES)}. "
            "Take one of them, or leave `policy.vision` out"
        )
    pictures = picture_processor(path, config, config_pricing(config), local_files_only=False)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    return pictures_only(FAMILIES[config.model_type])(pictures, tokenizer, chat_template=tokenizer.chat_template)
