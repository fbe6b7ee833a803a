"""Tiny random checkpoints, made in memory or in a given folder: real files, real loading code, weights of no meaning.

`character_tokenizer` has one token for each character of an alphabet, `byte_tokenizer` one for each byte of any text.
torch and transformers are imported inside the functions, so that tests of pure code import this file freely.
"""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

from memagent.types import ImagePart
from memagent_training.testing import characters
from memagent_training.testing.characters import EOS, PAD, TEMPLATE, VISION

Painter = Callable[[int, int], ImagePart]
"""Paints a picture of this width and height in px."""

GENERATIONS = ("2.5", "3")
"""Of Qwen-VL: cells of 28 px and of 32 px."""
ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz +-*=?.,:\n"


# -- tokenizers -------------------------------------------------------------------------------------------------------


def character_tokenizer(alphabet: str = ALPHABET) -> Any:
    """The tokenizer of `memagent_training.testing`, by default of few characters."""
    return characters.character_tokenizer(alphabet)


def byte_tokenizer() -> Any:
    """One token a byte: letter `a` is one token, `é` two."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: at for at, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([PAD, "<|im_start|>", EOS, *VISION])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=EOS, pad_token=PAD, chat_template=TEMPLATE)


# -- text models ------------------------------------------------------------------------------------------------------


def _text_settings(tokenizer: Any, *, width: int = 32, layers: int = 2, context: int = 512) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": width // 2,
        "max_position_embeddings": context,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
    }


def _saved(folder: Path, model: Any, tokenizer: Any) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_llama(
    vocab: str = ALPHABET, *, seed: int = 0, width: int = 32, layers: int = 2, tokenizer: Any = None
) -> tuple[Any, Any]:
    """A random Llama (about 20,000 weights) and its tokenizer, by default one of characters."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tokenizer or character_tokenizer(vocab)
    torch.manual_seed(seed)
    settings = _text_settings(tokenizer, width=width, layers=layers)
    return LlamaForCausalLM(LlamaConfig(**settings | {"num_key_value_heads": 2})), tokenizer


def saved_llama(folder: Path, **options: Any) -> Path:
    """`tiny_llama` saved to a folder, for what loads a model by name."""
    return _saved(folder, *tiny_llama(**options))


def saved_qwen2(folder: Path, *, alphabet: str = string.printable) -> Path:
    """A random Qwen2 (under 50,000 weights), one token a character, saved to a folder."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = character_tokenizer(alphabet)
    torch.manual_seed(0)
    settings = _text_settings(tokenizer, context=4096)
    del settings["head_dim"]
    return _saved(folder, Qwen2ForCausalLM(Qwen2Config(**settings)), tokenizer)


# -- vision-language models -------------------------------------------------------------------------------------------


def processor_class(generation: str) -> Any:
    """The real processor of a generation without its video part, see `memagent_training.processors`."""
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


def _vision_model(generation: str, tokenizer: Any, seed: int = 0) -> Any:
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
    places = {"mrope_section": [2, 3, 3], "rope_type": "default", "rope_theta": 10000.0}
    config = config_class(
        text_config=_text_settings(tokenizer) | {"rope_parameters": places},
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
    return _vision_model(generation, processor.tokenizer, seed), processor


def saved_qwen_vl(folder: Path, generation: str, *, alphabet: str = ALPHABET) -> Path:
    """Model and processor in a folder: load them with the model's class and `processor_class(generation)`."""
    return _saved(folder, *tiny_qwen_vl(generation, alphabet=alphabet))


def published_qwen_vl(folder: Path, generation: str) -> Path:
    """A model with the files and names of a published one: a byte tokenizer, and limits that shrink pictures."""
    tokenizer = byte_tokenizer()
    pixels = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "patch_size": 16 if generation == "3" else 14,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "size": {"shortest_edge": 3136, "longest_edge": 7840},  # ten cells: larger pictures would be shrunk
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels))
    return _saved(folder, _vision_model(generation, tokenizer), tokenizer)
