"""Tiny random Qwen2.5-VL and Qwen3-VL with their real processors, saved to a folder or made in memory.

The processors are transformers' own without their video part, see `memagent_training.processors`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny import ALPHABET, VISION, character_tokenizer

GENERATIONS = ("2.5", "3")


def processor_class(generation: str) -> Any:
    """The real processor of a generation ("2.5" or "3") without its video part."""
    from memagent_training.processors import pictures_only

    return pictures_only("Qwen3VLProcessor" if generation == "3" else "Qwen2_5_VLProcessor")


def tiny_processor(generation: str, *, most_tokens: int = 16, alphabet: str = ALPHABET) -> Any:
    """Pictures of at most `most_tokens` visual tokens pass unchanged; cells are 28 px ("2.5") or 32 px ("3")."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    patch = 16 if generation == "3" else 14
    cell = (2 * patch) ** 2
    pictures = Qwen2VLImageProcessorPil(
        patch_size=patch, merge_size=2, temporal_patch_size=2, size={"shortest_edge": cell, "longest_edge": most_tokens * cell}
    )
    tokenizer = character_tokenizer(alphabet)
    return processor_class(generation)(pictures, tokenizer, chat_template=tokenizer.chat_template)


def _tiny_model(generation: str, tokenizer: Any, seed: int) -> Any:
    import torch
    import transformers

    vision: dict[str, Any] = {"hidden_size": 16, "out_hidden_size": 32, "depth": 2, "num_heads": 2, "intermediate_size": 32}
    if generation == "3":
        vision |= {"patch_size": 16, "deepstack_visual_indexes": [0], "num_position_embeddings": 64}
        config_class, model_class = transformers.Qwen3VLConfig, transformers.Qwen3VLForConditionalGeneration
    else:
        vision |= {"patch_size": 14, "fullatt_block_indexes": [1], "window_size": 112}
        config_class, model_class = transformers.Qwen2_5_VLConfig, transformers.Qwen2_5_VLForConditionalGeneration
    start, end, image, video = tokenizer.convert_tokens_to_ids(VISION)
    config = config_class(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "max_position_embeddings": 512,
            "rope_parameters": {"mrope_section": [2, 3, 3], "rope_type": "default", "rope_theta": 10000.0},
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
        },
        vision_config=vision,
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    torch.manual_seed(seed)
    return model_class(config)


def tiny_qwen_vl(generation: str, *, seed: int = 0, most_tokens: int = 16, alphabet: str = ALPHABET) -> tuple[Any, Any]:
    """A random model of a generation ("2.5" or "3", under 100,000 weights) and its processor."""
    processor = tiny_processor(generation, most_tokens=most_tokens, alphabet=alphabet)
    return _tiny_model(generation, processor.tokenizer, seed), processor


def tiny_qwen25_vl(*, seed: int = 0) -> tuple[Any, Any]:
    """A random Qwen2.5-VL and its processor."""
    return tiny_qwen_vl("2.5", seed=seed)


def tiny_qwen3_vl(*, seed: int = 0) -> tuple[Any, Any]:
    """A random Qwen3-VL and its processor."""
    return tiny_qwen_vl("3", seed=seed)


def saved_qwen_vl(folder: Path, generation: str, *, alphabet: str = ALPHABET) -> Path:
    """Model and processor in a folder: load them with the model's class and `processor_class(generation)`."""
    model, processor = tiny_qwen_vl(generation, alphabet=alphabet)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
