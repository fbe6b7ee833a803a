"""What is read of a GGUF file before native code sees it."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.gguf_files import header_bytes

from memagent.errors import ConfigError
from memagent.models import gguf
from memagent.models.gguf_header import read_header


def test_a_header_gives_architecture_context_and_projector(tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(header_bytes(general__architecture="qwen2vl", general__name="Q", qwen2vl__context_length=4096))
    header = read_header(model)
    assert (header.architecture, header.name, header.context, header.projector) == ("qwen2vl", "Q", 4096, "")
    projector = tmp_path / "mmproj.gguf"
    projector.write_bytes(header_bytes(general__architecture="clip", clip__projector_type="qwen3vl_merger"))
    assert gguf._pricing(header, read_header(projector)).cell == 32
    with pytest.raises(ConfigError, match="no projector"):
        gguf._pricing(header, header)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a model", b"GGUF\x03\x00", b"GGUF" + b"\xff" * 40])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="not a readable GGUF"):
        read_header(file)
