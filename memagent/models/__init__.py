"""Models that answer, behind one contract: `load_model("embedded")`, `load_model("openai:gpt-4o-mini")`, and others.

`registry` maps names to classes. Importing this package loads no engine: the classes below arrive on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from memagent.models.base import AsyncReplyStream, CallOptions, ChatModel, Reply, ReplyStream, Request, StopReason, parse_json
from memagent.models.registry import ModelInfo, forbid_real_models, list_models, load_model

if TYPE_CHECKING:
    from memagent.models.fake import FakeModel, GarbageModel
    from memagent.models.gguf import EmbeddedModel, GgufModel
    from memagent.models.ocr_reader import OcrReader
    from memagent.models.openai_compatible import OpenAICompatibleModel
    from memagent.models.scripted import ScriptedModel
    from memagent.models.transformers_vlm import TransformersModel

__all__ = [
    "AsyncReplyStream",
    "CallOptions",
    "ChatModel",
    "EmbeddedModel",
    "FakeModel",
    "GarbageModel",
    "GgufModel",
    "ModelInfo",
    "OcrReader",
    "OpenAICompatibleModel",
    "Reply",
    "ReplyStream",
    "Request",
    "ScriptedModel",
    "StopReason",
    "TransformersModel",
    "forbid_real_models",
    "list_models",
    "load_model",
    "parse_json",
]

_LAZY = {
    "FakeModel": "fake",
    "GarbageModel": "fake",
    "EmbeddedModel": "gguf",
    "GgufModel": "gguf",
    "OcrReader": "ocr_reader",
    "OpenAICompatibleModel": "openai_compatible",
    "ScriptedModel": "scripted",
    "TransformersModel": "transformers_vlm",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(importlib.import_module(f"memagent.models.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
