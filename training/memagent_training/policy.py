"""Policies: a checkpoint from disk, or a tiny language model made on the spot for the characters of a task family."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from memagent.errors import ConfigError
from memagent_training.grpo.needs import Feature, Needs
from memagent_training.processors import load_processor


class Lora(BaseModel):
    """Low-rank adapters in place of full training; the names are PEFT's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    r: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: tuple[str, ...] | Literal["all-linear"] = "all-linear"


class TinyPolicy(BaseModel):
    """A decoder of random weights over the characters of the task family. Every character is a token."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    needs: ClassVar[Needs] = Needs(alphabet=True)
    features: ClassVar[frozenset[Feature]] = frozenset()
    attn: ClassVar[str] = "sdpa"

    kind: Literal["tiny"] = "tiny"
    layers: int = Field(default=2, ge=1)
    width: int = Field(default=64, ge=8)
    heads: int = Field(default=4, ge=1)
    context: int = Field(default=64, ge=8)
    """Most tokens of a prompt and its answer."""


class PretrainedPolicy(BaseModel):
    """A checkpoint: a folder, or a hub name where the machine may download."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["pretrained"]
    path: str
    vision: bool = False
    """Whether it is a vision-language model and is shown pictures."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    lora: Lora | None = None
    attn: str = "sdpa"
    """transformers' attention: `sdpa`, `eager`, `flash_attention_2`, `flash_attention_3`, or a kernel's name on the hub."""

    @property
    def features(self) -> frozenset[Feature]:
        """What it can do."""
        return frozenset({"chat", "pictures"} if self.vision else {"chat"})


Policy = TinyPolicy | PretrainedPolicy


def build_policy(policy: Policy, *, alphabet: str, seed: int) -> tuple[Any, Any, Any]:
    """Model, tokenizer or processor, and PEFT's config or None. Raises `ConfigError` for what does not fit."""
    if isinstance(policy, TinyPolicy):
        return *_tiny(policy, alphabet, seed), None
    import torch
    import transformers

    processing = load_processor(policy.path) if policy.vision else transformers.AutoTokenizer.from_pretrained(policy.path)
    auto = transformers.AutoModelForImageTextToText if policy.vision else transformers.AutoModelForCausalLM
    # no pickles and no code of a checkpoint's own
    safe = {"use_safetensors": True, "trust_remote_code": False}
    try:
        model = auto.from_pretrained(policy.path, dtype=getattr(torch, policy.dtype), attn_implementation=policy.attn, **safe)
    except (ImportError, ValueError) as error:
        raise ConfigError(f'`{policy.path}` does not load with policy.attn = "{policy.attn}": {error}') from error
    lora = policy.lora
    if lora is None:
        return model, processing, None
    from peft import LoraConfig

    targets = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    adapters = LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets, task_type="CAUSAL_LM"
    )
    return model, processing, adapters


def character_tokenizer(alphabet: str) -> Any:
    """A tokenizer with one token a character, and pad, end and unknown marks."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    marks = ["<pad>", "<end>", "<unk>"]
    words = {word: number for number, word in enumerate([*marks, *sorted(set(alphabet))])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>", unk_token="<unk>")


def _tiny(policy: TinyPolicy, alphabet: str, seed: int) -> tuple[Any, Any]:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    if policy.width % policy.heads:
        raise ConfigError(f"policy.width = {policy.width} is not a multiple of policy.heads = {policy.heads}")
    if not alphabet:
        raise ConfigError("a tiny policy needs a task family that names its characters; use cipher, arithmetic or strings")
    tokenizer = character_tokenizer(alphabet)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=policy.width,
        intermediate_size=4 * policy.width,
        num_hidden_layers=policy.layers,
        num_attention_heads=policy.heads,
        num_key_value_heads=policy.heads,
        max_position_embeddings=policy.context,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config), tokenizer
