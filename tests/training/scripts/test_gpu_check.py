"""The check of a machine with a GPU: what it prints and returns, at tiny size on the CPU, whole and broken."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")

import torch

from memagent_training.testing import gpu_bench
from memagent_training.testing.gpu_bench import NotRun
from memagent_training.testing.model_llm import ModelLLM
from memagent_training.testing.vllm_llm import FakeLLM
from training.scripts import gpu_check
from training.scripts.gpu_check import CHECKS, Check, Finding


def run(out: Path, checks: Sequence[Check] = CHECKS, *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit status, and what was written by the checks' names."""
    status = gpu_check.main(["--tiny", "--out", str(out), *words], checks=checks)
    report = json.loads((out / "gpu_check.json").read_text("utf-8"))
    assert report["report"] == 1
    return status, {one["check"]: one for one in report["meta"]["checks"]}


def check(name: str, find: Any) -> Check:
    return Check(name, "it is so", find)


def raising(error: BaseException) -> Any:
    def find(_: object) -> Finding:
        raise error

    return find


def test_a_check_that_breaks_is_its_line_and_the_others_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checks = (
        check("breaks", raising(RuntimeError("CUDA error:\n an illegal access"))),
        check("leaves", raising(SystemExit("vLLM gave up"))),
        check("lacks", raising(NotRun("vLLM is not installed"))),
        check("is wrong", lambda _: Finding(False, "3 nats", {"gap": 3.0})),
        check("is right", lambda _: Finding(True, "0.1 nats", {"gap": 0.1})),
    )
    status, told = run(tmp_path, checks)
    lines = capsys.readouterr().out.splitlines()
    assert status == 1
    assert [line[:8].strip() for line in lines] == ["FAILED", "FAILED", "not run", "FAILED", "ok"]
    assert told["breaks"]["figure"] == "RuntimeError: CUDA error: an illegal access"
    assert "is right" in lines[4]
    assert "0.1 nats (it is so)" in lines[4]
    assert run(tmp_path, checks[4:])[0] == 0


def test_what_takes_too_long_is_stopped_and_the_rest_is_not_run(tmp_path: Path) -> None:
    waits = (check("hangs", lambda _: time.sleep(30)), check("later", lambda _: Finding(True, "", {})))
    status, told = run(tmp_path, waits, "--minutes", "0.005")
    assert status == 1
    assert told["hangs"]["figure"].startswith("TimeoutError: stopped after")
    assert (told["later"]["status"], told["later"]["figure"]) == ("not run", "the time is up")


def test_without_a_gpu_it_says_what_can_be_done(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_check.main([]) == 2
    assert "--tiny" in capsys.readouterr().err


@pytest.mark.slow
def test_everything_holds_at_tiny_size(tmp_path: Path) -> None:
    status, told = run(tmp_path)
    assert status == 0, told
    assert [name for name, one in told.items() if one["status"] != "ok"] == ["packed, flash_attention_2"]
    assert len(told) == len(CHECKS)


@pytest.mark.slow
def test_a_sampler_that_gets_no_weights_is_found_by_its_gap_and_its_deaf_ear_for_adapters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deaf(ModelLLM):
        def load_weights(self, weights: Sequence[tuple[str, object]]) -> None:
            super().load_weights(weights[:0])

    monkeypatch.setattr(gpu_bench, "ModelLLM", Deaf)
    status, told = run(tmp_path, CHECKS[4:])
    assert status == 1
    found = {name: one["status"] for name, one in told.items()}
    assert found == {
        "prompt, 1 picture": "ok",
        "prompt, 2 pictures": "ok",
        "gap by role": "FAILED",
        "sleep and wake": "FAILED",
        "base weights": "ok",
    }


@pytest.mark.slow
def test_a_sampler_with_other_limits_of_pictures_is_found_by_the_length_of_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Enlarging(ModelLLM):
        def __init__(self, *, settings: Any, **options: Any) -> None:
            super().__init__(settings=dict(settings) | {"mm_processor_kwargs": None}, **options)
            assert self.eye is not None
            self.eye = type(self.eye)(image_id=self.eye.image_id, min_pixels=65_536)

        said = FakeLLM.said  # the model itself would see pictures and tokens that do not fit

    monkeypatch.setattr(gpu_bench, "ModelLLM", Enlarging)
    status, told = run(tmp_path, CHECKS[4:6])
    assert status == 1
    assert all("tokens for the trainer and" in one["figure"] for one in told.values())
