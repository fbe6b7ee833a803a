"""A model as an eye, and the curves that are kept for it."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from memagent.errors import ConfigError, InputError
from memagent.evaluation import calibrate_bench
from memagent.models import registry
from memagent.models.base import ChatModel, Reply, Request
from memagent.models.fake import FakeModel
from memagent.models.sight import ModelEye, acuity_file, keep_acuity, with_acuity
from renderers import Budget, render
from renderers.acuity import OCR, Acuity
from renderers.engines.fake import FakeEngine
from renderers.eyes.fake import FakeEye
from renderers.layout import fit
from renderers.legibility import read_back
from renderers.reader import Picture, ReaderProfile, text_of


class Seeing(ChatModel):
    """Transcribes the pictures of the fake engine."""

    name = "seeing"

    def __init__(self) -> None:
        self.reader = ReaderProfile(name=self.name, sees_images=True)

    def _stream(self, request: Request) -> Generator[str, None, Reply]:
        (image,) = request.messages[-1].images
        text = text_of(FakeEye().read(Picture(image.data, 28, 28, 4)))
        yield text
        return Reply(text=text)


def test_a_model_reads_as_an_eye(memory: str) -> None:
    picture = render(memory, Budget(64), engine=FakeEngine())
    eye = ModelEye(Seeing())
    assert read_back(picture, eye).share() == 1.0
    assert text_of(eye.read(picture)).count("\n") == len(picture.lines) - 1


@pytest.fixture
def memory() -> str:
    return "# Ada\n\nLives in **Lyon** with a dog called Biscuit.\n\n- allergic to peanuts"


def test_kept_curves_are_given_to_the_model_that_they_were_measured_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMAGENT_HOME", str(tmp_path))
    weak = Acuity.threshold(14.0)
    path = keep_acuity("hf:some/model", weak)
    assert path == acuity_file("hf:some/model")
    assert tmp_path in path.parents
    assert with_acuity("hf:some/model", Seeing()).reader.acuity == weak
    assert with_acuity("hf:another", Seeing()).reader.acuity == OCR
    assert with_acuity("hf:some/model", FakeModel()).reader.acuity == OCR  # it cannot see
    page = fit("words " * 400, Budget(64, with_acuity("hf:some/model", Seeing()).reader))
    assert page.sizes["body"] == 14.0
    path.write_text("{}")
    with pytest.raises(InputError, match="legibility curves"):
        with_acuity("hf:some/model", Seeing())


def test_calibrating_a_model_keeps_its_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMAGENT_HOME", str(tmp_path))
    monkeypatch.setattr(registry, "load_model", lambda name: Seeing())
    report = calibrate_bench.run("seeing", engine="fake", words=30, keep=True, file=tmp_path / "curves.json")
    assert {row.value for row in report.rows} == {1.0}
    assert report.meta["smallest_legible_px"] <= 5.0
    assert Acuity.load(tmp_path / "curves.json") == Acuity.load(acuity_file("seeing"))


def test_what_cannot_be_calibrated() -> None:
    with pytest.raises(ConfigError, match="cannot see"):
        calibrate_bench.run("fake", engine="fake")
    with pytest.raises(ConfigError, match="built in"):
        calibrate_bench.run("ocr", keep=True)
