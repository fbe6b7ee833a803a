"""Tiny policies and stock trainers for tests: everything is made in memory or in a given folder, nothing is downloaded.

Imports of torch, transformers and trl happen inside the functions, so that tests of the pure core import this file freely.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz +-*=?.,:\n"
PAD, EOS, UNKNOWN = "<|endoftext|>", "<|im_end|>", "<|unknown|>"
VISION = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
SPECIALS = [PAD, EOS, UNKNOWN, "<|im_start|>", *VISION]

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""ChatML with pictures, as Qwen's models write it."""


def character_tokenizer(alphabet: str = ALPHABET) -> Any:
    """One token a character: ids 0.. in the alphabet's order, then `SPECIALS`; other characters are `UNKNOWN`."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: at for at, token in enumerate([*alphabet, *SPECIALS])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=UNKNOWN))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(SPECIALS)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, unk_token=UNKNOWN, chat_template=TEMPLATE, padding_side="left"
    )


def tiny_llama(vocab: str = ALPHABET, *, seed: int = 0, width: int = 32, layers: int = 2) -> tuple[Any, Any]:
    """A random Llama (about 20,000 weights) and its character tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = character_tokenizer(vocab)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config), tokenizer


def saved_llama(folder: Path, **options: Any) -> Path:
    """`tiny_llama` saved to a folder, for what loads a policy by name."""
    model, tokenizer = tiny_llama(**options)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def saved_qwen2(folder: Path, *, alphabet: str = string.printable) -> Path:
    """A random Qwen2 (under 50,000 weights), one token a character, saved to a folder."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = character_tokenizer(alphabet)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=4096,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def count_digits(completion_ids: Sequence[Sequence[int]], **_: Any) -> list[float]:
    """A reward that differs between random completions: the share of digits (the first ten tokens) in each."""
    return [sum(token < 10 for token in ids) / max(1, len(ids)) for ids in completion_ids]


def stock_trainer(
    output: Path, *, model: Any = None, processing: Any = None, rewards: Any = count_digits, rows: Any = None, **settings: Any
) -> Any:
    """TRL's own `GRPOTrainer` on the CPU, float32, silent: 4 rows a micro-batch, groups of 2, 6 new tokens at most."""
    import datasets
    from trl import GRPOConfig, GRPOTrainer

    if model is None:
        model, processing = tiny_llama()
    defaults: dict[str, Any] = {
        "output_dir": str(output),
        "use_cpu": True,
        "bf16": False,
        "activation_checkpointing": False,
        "per_device_train_batch_size": 4,
        "num_generations": 2,
        "max_completion_length": 6,
        "max_steps": 1,
        "learning_rate": 1e-3,
        "report_to": "none",
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
        "seed": 3,
    }
    data = datasets.Dataset.from_list(rows or [{"prompt": f"{left}+{right}="} for left in range(4) for right in range(4)])
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=rewards,
        args=GRPOConfig(**(defaults | settings)),
        train_dataset=data,
        processing_class=processing,
    )
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps  # set by `train` otherwise
    trainer.model.train()
    return trainer


def scripted_batch(completions: Sequence[Sequence[int]], advantages: Sequence[float], *, prompts: Any = None) -> dict[str, Any]:
    """What `_generate_and_score_completions` returns, for rows given as token ids; prompts are `[1, 2]` if not given."""
    import torch

    prompts = prompts or [[1, 2]] * len(completions)
    before, wide = max(map(len, prompts)), max(map(len, completions))
    return {
        "prompt_ids": torch.tensor([[0] * (before - len(row)) + list(row) for row in prompts]),
        "prompt_mask": torch.tensor([[0] * (before - len(row)) + [1] * len(row) for row in prompts]),
        "completion_ids": torch.tensor([list(row) + [0] * (wide - len(row)) for row in completions]),
        "completion_mask": torch.tensor([[1] * len(row) + [0] * (wide - len(row)) for row in completions]),
        "advantages": torch.tensor(advantages, dtype=torch.float32),
        "num_items_in_batch": torch.tensor(sum(map(len, completions))),
    }


def gradients(model: Any) -> Any:
    """All gradients of a model as one vector; a weight without a gradient counts as zeros."""
    import torch

    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in model.parameters()])
