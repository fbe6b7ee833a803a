"""A Qwen2.5-VL of random weights and of any size, with a processor of one token a character: nothing is downloaded.

The head is scaled so that the next token is far from evenly likely: what reads another prompt, or has other weights, then gives
other log-probabilities. With the weights that a model starts from all prompts would give nearly the same.
"""

from __future__ import annotations

import string
from typing import Any

from memagent_training.estimate import ModelShape
from memagent_training.testing.characters import VISION, character_tokenizer

SHARPNESS = 2.0
"""Standard deviation of the logits."""


def random_qwen_vl(shape: ModelShape, *, tower_width: int = 320, tower_layers: int = 4, seed: int = 0) -> tuple[Any, Any]:
    """A Qwen2.5-VL with a language part of `shape`, on torch's default device, in float32, and its processor.

    `shape.vocabulary` is raised to that of the tokenizer, `shape.tower` not looked at. A head of the tower is 80 wide where
    `tower_width` divides by that, as in the published models.
    """
    import torch
    import transformers

    processor = character_processor()
    config = _config(shape, processor.tokenizer, tower_width, tower_layers)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        model = transformers.Qwen2_5_VLForConditionalGeneration(config)
    model.lm_head.weight.data.mul_(SHARPNESS / (config.text_config.initializer_range * shape.hidden**0.5))
    return model, processor


def character_processor() -> Any:
    """Of pictures in cells of 28 px, and of one token a printable character."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from memagent_training.processors import pictures_only

    pictures = Qwen2VLImageProcessorPil(
        patch_size=14, merge_size=2, temporal_patch_size=2, size={"shortest_edge": 28**2, "longest_edge": 16384 * 28**2}
    )
    tokenizer = character_tokenizer(string.printable)
    return pictures_only("Qwen2_5_VLProcessor")(pictures, tokenizer, chat_template=tokenizer.chat_template)


def _config(shape: ModelShape, tokenizer: Any, tower_width: int, tower_layers: int) -> Any:
    import transformers

    start, end, image, video = tokenizer.convert_tokens_to_ids(VISION)
    quarter = shape.head_size // 8  # of the rotations, for time; what is left is for height and width
    rest = shape.head_size // 2 - quarter
    text = {
        "vocab_size": max(shape.vocabulary, len(tokenizer)),
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "max_position_embeddings": 32_768,
        "tie_word_embeddings": shape.tied,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "rope_parameters": {
            "mrope_section": [quarter, rest // 2, rest - rest // 2],
            "rope_type": "default",
            "rope_theta": 1_000_000.0,
        },
    }
    heads = max(2, tower_width // 80)
    tower = {
        "hidden_size": tower_width,
        "out_hidden_size": shape.hidden,
        "depth": tower_layers,
        "num_heads": heads,
        "intermediate_size": 2 * tower_width,
        "patch_size": 14,
        "window_size": 112,
        "fullatt_block_indexes": [tower_layers - 1],
    }
    return transformers.Qwen2_5_VLConfig(
        text_config=text,
        vision_config=tower,
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
        tie_word_embeddings=shape.tied,
    )
