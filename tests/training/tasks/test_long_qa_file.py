"""The file of contexts: the same bytes by any number of workers, and gone on with after a kill."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.training_runs import PATHS

from memagent.errors import ConfigError, InputError
from memagent_training import cli
from memagent_training.recipe import load_recipe
from memagent_training.run import _dataset, task_rows
from memagent_training.tasks.long_qa import LongQuestions
from memagent_training.tasks.long_qa_file import write_long_qa
from memagent_training.tasks.stored import StoredRows


def hotpot(folder: Path, *, questions: int = 40) -> Path:
    """Questions in HotpotQA's own form, four paragraphs each; one without a supporting paragraph."""
    samples: list[dict[str, Any]] = []
    for at in range(questions):
        words = [f"Título {at} {place}" for place in range(4)]
        context = [[title, [f"Paragraph {place} of {at}.", f" Gold {at}\u2028\u0085 语."]] for place, title in enumerate(words)]
        facts = [] if at == 3 else [[words[1], 1]]
        sample = {"_id": f"h{at}", "question": f"What is {at}?", "answer": f"Gold {at}", "context": context}
        samples.append(sample | {"supporting_facts": facts, "type": "bridge", "level": "hard"})
    path = folder / "hotpot_train.json"
    path.write_text(json.dumps(samples), "utf-8")
    return path


def command(questions: Path, out: Path, *more: str) -> list[str]:
    return ["data", "long-qa", "--questions", str(questions), "--documents", "20", "--n", "30", "--out", str(out), *more]


def folder_of(path: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in sorted(path.parent.iterdir())}


def test_workers_and_runs_write_the_same_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    questions = hotpot(tmp_path)
    for name, more in (("one", ()), ("again", ()), ("three", ("--workers", "3"))):
        assert cli.main(command(questions, tmp_path / name / "rows.jsonl", *more)) == 0
    one, again, three = (folder_of(tmp_path / name / "rows.jsonl") for name in ("one", "again", "three"))
    assert one == again == three
    assert list(one) == ["rows.jsonl", "rows.jsonl.index.npy", "rows.jsonl.manifest.json"]
    said = capsys.readouterr()
    assert json.loads(said.out.split("\n}\n")[0] + "}") == json.loads(one["rows.jsonl.manifest.json"])
    assert "--set task.data=" in said.err


def test_the_file_gives_the_rows_that_its_questions_give(tmp_path: Path) -> None:
    asked = LongQuestions(questions=str(hotpot(tmp_path)), documents=20)
    out = tmp_path / "rows.jsonl"
    write_long_qa(asked, out, n=30, seed=5)
    rows = LongQuestions(data=str(out)).tasks(99, seed=0)
    assert list(rows) == asked.tasks(30, seed=5)
    assert len(LongQuestions(data=str(out)).tasks(4, seed=0)) == 4


def test_the_manifest_says_what_the_file_is_made_of(tmp_path: Path) -> None:
    questions = hotpot(tmp_path)
    out = tmp_path / "rows.jsonl"
    asked = LongQuestions(questions=str(questions), documents=200)  # all paragraphs are but 160
    told = write_long_qa(asked, out, n=99, seed=1)
    digest = hashlib.sha256(questions.read_bytes()).hexdigest()
    assert told["made"]["questions"] == {"file": questions.name, "bytes": questions.stat().st_size, "sha256": digest}
    assert (told["made"]["documents"], told["made"]["seed"], told["made"]["n"]) == (200, 1, 99)
    assert (told["rows"], told["short"], told["left_out"]) == (39, 39, {"no document answers it": 1})
    assert told["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert write_long_qa(LongQuestions(questions=str(questions), documents=9), tmp_path / "b", n=99)["short"] == 0


@pytest.mark.parametrize("left", [0.0, 0.01, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("torn", [b"", b'{"id": "h', b"\x00" * 9, b'{"id": "h2", "question": "another"}\n'])
def test_what_a_killed_run_left_is_gone_on_with_to_the_same_bytes(tmp_path: Path, left: float, torn: bytes) -> None:
    asked = LongQuestions(questions=str(hotpot(tmp_path)), documents=20)
    out = tmp_path / "out" / "rows.jsonl"
    write_long_qa(asked, out, n=30)
    whole = folder_of(out)
    begun = json.dumps(json.loads(whole["rows.jsonl.manifest.json"])["made"], indent=1) + "\n"
    for one in out.parent.iterdir():
        one.unlink()
    (out.parent / "rows.jsonl.part.json").write_text(begun)
    content = whole["rows.jsonl"]
    (out.parent / "rows.jsonl.part").write_bytes(content[: int(left * len(content))] + torn)
    done: list[tuple[int, int]] = []
    write_long_qa(asked, out, n=30, progress=lambda *counts: done.append(counts))
    assert folder_of(out) == whole
    assert len(done) == 30 - content[: int(left * len(content))].count(b"\n"), "only what was missing is made"


def processes_of(questions: Path) -> list[str]:
    """That were started with this file."""
    found = []
    for one in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if one.name.isdecimal() and str(questions) in (one / "cmdline").read_text():
                found.append(one.name)
    return found


@pytest.mark.slow
@pytest.mark.timed
def test_a_kill_while_it_writes_costs_nothing_that_was_written(tmp_path: Path) -> None:
    questions = hotpot(tmp_path, questions=3000)
    quiet = os.environ | {"PYTHONPATH": PATHS}
    words = [word if word != "30" else "3000" for word in command(questions, tmp_path / "killed" / "rows.jsonl")]
    words += ["--workers", "2"]
    process = subprocess.Popen([sys.executable, "-m", "memagent_training", *words], env=quiet, stdout=subprocess.DEVNULL)
    part = tmp_path / "killed" / "rows.jsonl.part"
    while not (part.exists() and part.stat().st_size > 100_000):
        assert process.poll() is None
        time.sleep(0.01)
    assert len(processes_of(questions)) == 3
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 10
    while processes_of(questions) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not processes_of(questions), "its workers end with it"
    before = part.read_bytes()
    assert not (tmp_path / "killed" / "rows.jsonl").exists()
    asked = LongQuestions(questions=str(questions), documents=20)
    write_long_qa(asked, tmp_path / "killed" / "rows.jsonl", n=3000, workers=2)
    write_long_qa(asked, tmp_path / "straight" / "rows.jsonl", n=3000)
    assert folder_of(tmp_path / "killed" / "rows.jsonl") == folder_of(tmp_path / "straight" / "rows.jsonl")
    assert (tmp_path / "killed" / "rows.jsonl").read_bytes().startswith(before[: before.rindex(b"\n")])


def test_a_file_that_is_there_is_left_or_refused(tmp_path: Path) -> None:
    asked = LongQuestions(questions=str(hotpot(tmp_path)), documents=20)
    out = tmp_path / "rows.jsonl"
    told = write_long_qa(asked, out, n=5)
    stamp = out.stat().st_mtime_ns
    assert write_long_qa(asked, out, n=5) == told
    assert out.stat().st_mtime_ns == stamp
    for other in ({"n": 6}, {"n": 5, "seed": 1}):
        with pytest.raises(ConfigError, match="from another source or other settings"):
            write_long_qa(asked, out, **other)
    out.write_text("mine\n")
    with pytest.raises(ConfigError, match="from another source or other settings"):
        write_long_qa(asked, out, n=5)
    assert out.read_text() == "mine\n"


def test_a_file_that_was_begun_otherwise_is_refused(tmp_path: Path) -> None:
    asked = LongQuestions(questions=str(hotpot(tmp_path)), documents=20)
    out = tmp_path / "rows.jsonl"
    (tmp_path / "rows.jsonl.part.json").write_text("{}\n")
    (tmp_path / "rows.jsonl.part").write_text("\n")
    with pytest.raises(ConfigError, match=r"rows\.jsonl\.part` was begun .* other settings"):
        write_long_qa(asked, out, n=5)


def test_what_cannot_be_made_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rows.jsonl"
    assert cli.main(command(tmp_path / "none.json", out)) != 0
    assert "there is no file" in capsys.readouterr().err
    assert cli.main(command(hotpot(tmp_path), out, "--workers", "0")) != 0
    assert "workers = 0" in capsys.readouterr().err
    with pytest.raises(InputError, match="n = 0"):
        write_long_qa(LongQuestions(questions=str(hotpot(tmp_path))), out, n=0)
    assert not out.exists()
    assert cli.main(command(hotpot(tmp_path), tmp_path / "hotpot_train.json" / "rows.jsonl")) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("files: ")
    assert "rows.jsonl" in line


def test_paragraphs_of_another_file_answer_questions_without_any(tmp_path: Path) -> None:
    asked = [{"question": f"Кто {at}?", "answer": [f"Gold {at}"], "id": f"n{at}"} for at in (4, 7, 99)]
    questions = tmp_path / "nq.jsonl"
    questions.write_text("\n".join(map(json.dumps, asked)), "utf-8")
    settings = LongQuestions(questions=str(questions), pool=str(hotpot(tmp_path)), tokens=300)
    told = write_long_qa(settings, tmp_path / "rows.jsonl", n=9, workers=2)
    assert (told["rows"], told["left_out"]) == (2, {"no document answers it": 1})
    assert told["made"]["pool"]["file"] == "hotpot_train.json"
    assert list(LongQuestions(data=str(tmp_path / "rows.jsonl")).tasks(9, seed=0)) == settings.tasks(9, seed=0)


def test_half_a_surrogate_pair_in_a_text_stops_nothing(tmp_path: Path) -> None:
    questions = hotpot(tmp_path)
    questions.write_text(questions.read_text("utf-8").replace("Paragraph 2 of 5.", "\\ud83d Paragraph."), "utf-8")
    settings = LongQuestions(questions=str(questions), documents=200)
    write_long_qa(settings, tmp_path / "rows.jsonl", n=4)
    rows = list(LongQuestions(data=str(tmp_path / "rows.jsonl")).tasks(9, seed=0))
    assert rows == settings.tasks(4, seed=0)
    assert "\ud83d Paragraph." in str(rows[0]["context"])


def test_a_worker_that_is_killed_is_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from memagent_training.tasks import long_qa_file

    monkeypatch.setattr(long_qa_file, "_line", killed)
    asked = LongQuestions(questions=str(hotpot(tmp_path)), documents=20)
    with pytest.raises(ConfigError, match="fewer --workers"):
        write_long_qa(asked, tmp_path / "rows.jsonl", n=9, workers=2)


def killed(number: int) -> bytes:
    os.kill(os.getpid(), signal.SIGKILL)
    return b""


@pytest.mark.parametrize("name", ["hotpotqa", "locomo"])
def test_real_files_are_written(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    asked = LongQuestions(questions=str(request.getfixturevalue(name)), tokens=3000)
    told = write_long_qa(asked, tmp_path / "rows.jsonl", n=20, workers=2)
    assert told["rows"] == 20
    assert list(LongQuestions(data=str(tmp_path / "rows.jsonl")).tasks(20, seed=0)) == asked.tasks(20, seed=0)


def test_a_run_reads_rows_of_the_file_when_they_are_drawn(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    write_long_qa(LongQuestions(questions=str(hotpot(tmp_path)), documents=20), out, n=30)
    changed = {"task.data": str(out), "rollouts.prompts": 8, "rollouts.updates": 1, "rollouts.micro_batches": 1}
    rows = task_rows(load_recipe("memagent-7b", overrides=changed))
    assert isinstance(rows, StoredRows)
    data = _dataset(rows)
    assert data[7] == rows[7]
    assert [row["id"] for row in data] == [f"h{at}" for at in range(31) if at != 3]
    assert data._data.nbytes < 1000, "the contexts are not in it"
