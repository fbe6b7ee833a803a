"""Tiny random checkpoints, made by the tests: real files, real loading code, weights of no meaning."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from memagent.types import ImagePart

Painter = Callable[[int, int], ImagePart]
"""Paints a picture of this width and height in px."""

VISION_MARKS = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *VISION_MARKS]

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tokenizer(folder: Path) -> int:
    """Save a byte-level tokenizer without merges; return its size. Letter `a` is one token, `é` two."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: at for at, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(MARKS)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    return len(fast)


def _text_settings(vocabulary: int) -> dict[str, object]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "max_position_embeddings": 512,
        "pad_token_id": 256,
        "bos_token_id": None,
        "eos_token_id": 258,
    }


def make_llama(folder: Path) -> Path:
    """A text model."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**_text_settings(make_tokenizer(folder)))).save_pretrained(folder)
    return folder


def make_qwen_vl(folder: Path, generation: str) -> Path:
    """A vision-language model of the Qwen family, generation `2.5` (cells of 28 px) or `3` (32 px)."""
    import torch
    import transformers

    vocabulary = make_tokenizer(folder)
    text = _text_settings(vocabulary)
    vision: dict[str, object] = {"hidden_size": 16, "out_hidden_size": 32, "depth": 2, "num_heads": 2}
    places: dict[str, object] = {"mrope_section": [2, 3, 3], "rope_type": "default", "rope_theta": 10000.0}
    if generation == "3":
        vision |= {
            "intermediate_size": 32,
            "patch_size": 16,
            "deepstack_visual_indexes": [0],
            "num_position_embeddings": 64,
        }
        config_kind, model_kind = transformers.Qwen3VLConfig, transformers.Qwen3VLForConditionalGeneration
    else:
        vision |= {"intermediate_size": 32, "patch_size": 14, "fullatt_block_indexes": [1], "window_size": 112}
        config_kind, model_kind = transformers.Qwen2_5_VLConfig, transformers.Qwen2_5_VLForConditionalGeneration
    config = config_kind(
        text_config=text | {"rope_parameters": places},
        vision_config=vision,
        image_token_id=vocabulary - 2,
        video_token_id=vocabulary - 1,
        vision_start_token_id=vocabulary - 4,
        vision_end_token_id=vocabulary - 3,
    )
    torch.manual_seed(0)
    model_kind(config).save_pretrained(folder)
    pixels = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "patch_size": 16 if generation == "3" else 14,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "size": {"shortest_edge": 3136, "longest_edge": 7840},  # ten cells: larger pictures would be shrunk
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels))
    return folder
