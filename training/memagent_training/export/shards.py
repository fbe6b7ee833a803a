"""The shards that FSDP2 saves (torch.distributed.checkpoint), put together on the CPU.

Their index, `.metadata`, is a pickle. It is read by an unpickler that knows the classes of such an index and nothing else;
the tensors by torch's loader for weights alone.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from memagent.errors import ConfigError
from memagent_training.export.run_folder import inside

_METADATA = "torch.distributed.checkpoint.metadata"
KNOWN = {
    (_METADATA, "Metadata"),
    (_METADATA, "MetadataIndex"),
    (_METADATA, "StorageMeta"),
    (_METADATA, "TensorStorageMetadata"),
    (_METADATA, "ChunkStorageMetadata"),
    (_METADATA, "BytesStorageMetadata"),
    (_METADATA, "TensorProperties"),
    (_METADATA, "_MEM_FORMAT_ENCODING"),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch.serialization", "_get_layout"),
    ("torch", "Size"),
    ("pathlib", "PosixPath"),
    ("collections", "OrderedDict"),
}
"""What an index names, by module and class; besides, the dtypes of torch."""


class _IndexUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in KNOWN or (module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no index of shards does")


def read_shards(folder: Path, wanted: Mapping[str, Sequence[int]]) -> dict[str, torch.Tensor]:
    """The tensors `wanted`, by name and shape, out of the shards in `folder`.

    Raises `ConfigError` where the index is damaged, hostile or of other tensors, and where a shard is not whole.
    """
    index = _index(folder)
    prefix = "model."  # accelerate saves {"model": state}
    held = {name.removeprefix(prefix): (name, one) for name, one in index.state_dict_metadata.items()}
    if set(held) != set(wanted):
        missing, foreign = sorted(set(wanted) - set(held)), sorted(set(held) - set(wanted))
        raise ConfigError(
            f"the shards in `{folder}` are not of the recipe's policy: {len(missing)} weights are missing "
            f"({', '.join(missing[:3]) or 'none'}), {len(foreign)} are not its own ({', '.join(foreign[:3]) or 'none'})"
        )
    try:
        return {name: _tensor(folder, index, full, one, wanted[name]) for name, (full, one) in held.items()}
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise ConfigError(f"the shards in `{folder}` are damaged: {error}; take another checkpoint with --step") from error


def _index(folder: Path) -> Any:
    try:
        with (folder / ".metadata").open("rb") as file:
            index = _IndexUnpickler(file).load()
        if not isinstance(index.state_dict_metadata, dict) or not isinstance(index.storage_data, dict):
            raise TypeError("it is no index of shards")
    except Exception as error:  # a pickle fails in as many ways as there are opcodes
        raise ConfigError(f"`{folder / '.metadata'}` cannot be read: {error}") from error
    return index


def _tensor(folder: Path, index: Any, name: str, one: Any, shape: Sequence[int]) -> torch.Tensor:
    """One tensor out of its chunks, which must cover all of it."""
    from torch.distributed.checkpoint.metadata import MetadataIndex

    if tuple(one.size) != tuple(shape):
        raise ValueError(f"`{name}` has the shape {tuple(one.size)}, and the policy's {tuple(shape)}")
    whole = torch.empty(tuple(shape), dtype=one.properties.dtype)
    covered = torch.zeros(tuple(shape), dtype=torch.bool)
    for chunk in one.chunks:
        where = index.storage_data[MetadataIndex(name, chunk.offsets)]
        if where.transform_descriptors:
            raise ValueError(f"`{name}` is stored by an extension ({where.transform_descriptors})")
        with inside(folder, where.relative_path).open("rb") as file:
            file.seek(where.offset)
            piece = torch.load(io.BytesIO(file.read(where.length)), map_location="cpu", weights_only=True)
        target = _place(whole, chunk)
        if piece.shape != target.shape:
            raise ValueError(f"a chunk of `{name}` has the shape {tuple(piece.shape)} in place of {tuple(target.shape)}")
        target.copy_(piece)
        _place(covered, chunk).fill_(True)
    if not covered.all():
        raise ValueError(f"the chunks of `{name}` do not cover it")
    return whole


def _place(whole: torch.Tensor, chunk: Any) -> torch.Tensor:
    """Where a chunk lies in its tensor, as a view."""
    for dimension, (start, length) in enumerate(zip(chunk.offsets, chunk.sizes, strict=True)):
        whole = whole.narrow(dimension, start, length)
    return whole
