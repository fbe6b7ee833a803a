"""A model as an eye, and the curves that are kept for it."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from memagent.errors import ConfigError, InputError
from memagent.evaluation import calibrate
from memagent.models import registry
from memagent.models.base import ChatModel, Reply, Request
from memagent.models.fake import FakeModel
from memagent.models.vision import VLMReader, legibility_file, save_legibility, with_legibility
from memagent_renderers import Budget, render
from memagent_renderers.budget import Picture, ReaderProfile, text_of
from memagent_renderers.engines.fake import FakeEngine
from memagent_renderers.layout import fit
from memagent_renderers.legibility import read_back
from memagent_renderers.legibility_curve import OCR, LegibilityCurve
from memagent_renderers.ocr.fake import FakePictureReader


class Seeing(ChatModel):
    """Transcribes the pictures of the fake engine."""

    name = "seeing"

    def __init__(self) -> None:
        self.reader = ReaderProfile(name=self.name, sees_images=True)

    def _stream(self, request: Request) -> Generator[str, None, Reply]:
        (image,) = request.messages[-1].images
        text = text_of(FakePictureReader().read(Picture(image.data, 28, 28, 4)))
        yield text
        return Reply(text=text)


def test_a_model_reads_as_an_eye(memory: str) -> None:
    picture = render(memory, Budget(64), engine=FakeEngine())
    eye = VLMReader(Seeing())
    assert read_back(picture, eye).share() == 1.0
    assert text_of(eye.read(picture)).count("\n") == len(picture.lines) - 1


@pytest.fixture
def memory() -> str:
    return "# Ada\n\nLives in **Lyon** with a dog called Biscuit.\n\n- allergic to peanuts"


def test_kept_curves_are_given_to_the_model_that_they_were_measured_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMAGENT_HOME", str(tmp_path))
    weak = LegibilityCurve.threshold(14.0)
    path = save_legibility("hf:some/model", weak)
    assert path == legibility_file("hf:some/model")
    assert tmp_path in path.parents
    assert with_legibility("hf:some/model", Seeing()).reader.legibility == weak
    assert with_legibility("hf:another", Seeing()).reader.legibility == OCR
    assert with_legibility("hf:some/model", FakeModel()).reader.legibility == OCR  # it cannot see
    page = fit("words " * 400, Budget(64, with_legibility("hf:some/model", Seeing()).reader))
    assert page.sizes["body"] == 14.0
    path.write_text("{}")
    with pytest.raises(InputError, match="legibility curves"):
        with_legibility("hf:some/model", Seeing())


def test_calibrating_a_model_keeps_its_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMAGENT_HOME", str(tmp_path))
    monkeypatch.setattr(registry, "load_model", lambda name: Seeing())
    report = calibrate.run("seeing", engine="fake", words=30, keep=True, file=tmp_path / "curves.json")
    assert {row.value for row in report.rows} == {1.0}
    assert report.meta["smallest_legible_px"] <= 5.0
    assert LegibilityCurve.load(tmp_path / "curves.json") == LegibilityCurve.load(legibility_file("seeing"))


def test_what_cannot_be_calibrated() -> None:
    with pytest.raises(ConfigError, match="cannot see"):
        calibrate.run("fake", engine="fake")
    with pytest.raises(ConfigError, match="built in"):
        calibrate.run("ocr", keep=True)
