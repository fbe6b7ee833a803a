"""A tokenizer of one token a character, with the marks and the chat template of Qwen's models: for random policies."""

from __future__ import annotations

from typing import Any

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


def character_tokenizer(alphabet: str) -> Any:
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
