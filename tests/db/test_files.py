"""The files of a store: private from the first byte, missed when they are taken away, and read where they cannot be written."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from helpers.processes import in_child

from memagent.errors import StoreError
from memagent.memory.base import Memory
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.store import Store

ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


# -- private -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("umask")
def test_every_file_is_private_in_a_folder_that_was_there(tmp_path: Path) -> None:
    (tmp_path / "mem").mkdir(mode=0o755)
    with Store(tmp_path / "mem", embedder=None) as store:
        store.memory("rag").add("hello")
        assert modes(tmp_path / "mem") == {"memory.db": 0o600, "memory.db-wal": 0o600, "memory.db-shm": 0o600}
    assert (tmp_path / "mem").stat().st_mode & 0o777 == 0o700


@pytest.mark.usefixtures("umask")
def test_a_shared_folder_that_holds_something_is_left_as_it_is_and_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o755)
    (folder / "diary.txt").write_text("mine")
    for _ in range(2):
        with Store(folder, embedder=None) as store:
            store.memory("rag").add("hello")
            assert {mode for name, mode in modes(folder).items() if name.startswith("memory.db")} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o755
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert f"chmod 700 {folder}" in caplog.text


@pytest.mark.usefixtures("umask")
def test_files_that_an_older_version_left_open_are_closed(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None) as store:
        store.memory("rag").add("hello")
        for part in ("", "-wal", "-shm"):
            (tmp_path / f"memory.db{part}").chmod(0o644)
        with Store(tmp_path, embedder=None) as other:
            other.memory("rag").add("there")
            assert set(modes(tmp_path).values()) == {0o600}


# -- taken away --------------------------------------------------------------------------------------------------------


def removed(folder: Path) -> None:
    shutil.rmtree(folder)


def moved(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def emptied(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def log_removed(folder: Path) -> None:
    (folder / "memory.db-wal").unlink()


def replaced(folder: Path) -> None:
    removed(folder)
    with Store(folder, embedder=None) as store:
        store.memory("rag").add("another store")


def file_replaced(folder: Path) -> None:
    with Store(folder.with_name("other"), embedder=None) as store:
        store.memory("rag").add("another store")
    os.replace(folder.with_name("other") / "memory.db", folder / "memory.db")


def put_back(folder: Path) -> None:
    old, live = sqlite3.connect(folder.with_name("old.db")), sqlite3.connect(folder / "memory.db")
    old.backup(live)
    old.close()
    live.close()


@pytest.mark.parametrize("change", [removed, moved, emptied, log_removed, replaced, file_replaced, put_back])
@pytest.mark.parametrize(
    "verb",
    [
        lambda memory: memory.add("lost?"),
        lambda memory: memory.undo(),
        lambda memory: memory.items(),
        lambda memory: memory.recall("hello", budget=50),
    ],
)
def test_no_receipt_is_given_for_a_database_that_is_not_the_one_at_its_path(
    tmp_path: Path, change: Callable[[Path], None], verb: Callable[[Memory], object]
) -> None:
    folder = tmp_path / "mem"
    with Store(folder, embedder=None) as store:
        store.memory("rag").add("hello")
    shutil.copy(folder / "memory.db", tmp_path / "old.db")
    with Store(folder, embedder=None) as store:
        memory = store.memory("rag")
        memory.remember("and this")
        change(folder)
        for _ in range(2):
            with pytest.raises(StoreError, match="open the store again"):
                verb(memory)


def test_a_folder_that_goes_while_a_write_is_under_way_costs_the_receipt(tmp_path: Path) -> None:
    def write(store: Store) -> None:
        with store.backend.database.write() as connection:
            connection.execute("INSERT INTO users (name, created_at) VALUES ('x', 'now')")
            shutil.rmtree(tmp_path / "mem")

    with Store(tmp_path / "mem", embedder=None) as store, pytest.raises(StoreError, match="no longer the file"):
        write(store)


def test_a_store_that_was_made_anew_can_be_opened_beside_the_lost_one(tmp_path: Path) -> None:
    with Store(tmp_path / "mem", embedder=None) as lost:
        lost.memory("rag").add("hello")
        shutil.rmtree(tmp_path / "mem")
        with Store(tmp_path / "mem", embedder=None) as store:
            store.memory("rag").add("new")
            with pytest.raises(StoreError):
                lost.memory("rag").add("lost")
    with Store(tmp_path / "mem", embedder=None) as store:
        assert [item.text for item in store.memory("rag").items()] == ["new"]


# -- read only ---------------------------------------------------------------------------------------------------------

READ = """
import sys
from memagent import Store
from memagent.errors import StoreError
from memagent.retrieval.embedders.hash import HashEmbedder
for read_only in (True, False):
    with Store(sys.argv[1], embedder=HashEmbedder(), read_only=read_only) as store:
        memory = store.memory("rag", user="ada")
        print(store.read_only, [item.text for item in memory.items()], memory.search("dog")[0].item.text)
        print(memory.recall("dog", budget=60).text is not None, store.users(), memory.stats().messages)
        try:
            memory.add("more")
        except StoreError as error:
            print("refused", error)
"""


def check_read(output: str) -> None:
    lines = output.splitlines()
    assert lines[0] == lines[3] == "True ['My dog is called Biscuit.'] My dog is called Biscuit."
    assert lines[1] == lines[4] == "True ['ada'] 1"
    assert all(line.startswith("refused") and "cannot be written" in line for line in (lines[2], lines[5]))


@pytest.fixture
def closed_store(tmp_path: Path) -> Path:
    with Store(tmp_path / "mem", embedder=HashEmbedder()) as store:
        memory = store.memory("rag", user="ada")
        memory.add("My dog is called Biscuit.")
        memory.consolidate()
    return tmp_path / "mem"


def test_a_read_only_mount_is_read(closed_store: Path) -> None:
    mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", mount, str(closed_store), sys.executable, "-c", READ, str(closed_store)]
    if not ROOT or shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("mounting needs root and namespaces")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    check_read(done.stdout)
    assert [path.name for path in closed_store.iterdir()] == ["memory.db"]


def test_a_folder_without_the_right_to_write_is_read(closed_store: Path) -> None:
    with TemporaryDirectory() as place:
        folder = Path(place) / "mem"
        shutil.copytree(closed_store, folder)
        Path(place).chmod(0o755)
        if ROOT:
            os.chown(folder / "memory.db", 65534, 65534)
        (folder / "memory.db").chmod(0o400)
        folder.chmod(0o555)

        def read() -> str:
            if ROOT:
                os.setuid(65534)
            lines = []
            for read_only in (True, False):
                with Store(folder, embedder=HashEmbedder(), read_only=read_only) as store:
                    memory = store.memory("rag", user="ada")
                    texts = [item.text for item in memory.items()]
                    lines.append(f"{store.read_only} {texts} {memory.search('dog')[0].item.text}")
                    lines.append(
                        f"{memory.recall('dog', budget=60).text is not None} {store.users()} {memory.stats().messages}"
                    )
                    try:
                        memory.add("more")
                    except StoreError as error:
                        lines.append(f"refused {error}")
            return "\n".join(lines)

        check_read(in_child(read))
        folder.chmod(0o755)


def test_changes_that_only_a_copy_can_show_are_named_and_a_copy_shows_them(tmp_path: Path) -> None:
    with TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        folder = Path(place) / "mem"
        folder.mkdir()
        with Store(tmp_path / "live", embedder=None) as store:
            store.memory("rag").add("My dog is called Biscuit.")
            for name in ("memory.db", "memory.db-wal"):  # as a copy of a running store, or a crash, leaves them
                shutil.copy(tmp_path / "live" / name, folder / name)
                (folder / name).chmod(0o444)
        folder.chmod(0o555)

        def read() -> str:
            if ROOT:
                os.setuid(65534)
            found = []
            for read_only in (True, False):
                with pytest.raises(StoreError) as error:
                    Store(folder, embedder=None, read_only=read_only)
                found.append(str(error.value))
            return "\n".join(found)

        for line in in_child(read).splitlines():
            assert "memory.db-wal holds" in line
            assert f"copy the whole folder {folder}" in line
        shutil.copytree(folder, tmp_path / "copy")
        folder.chmod(0o755)
    (tmp_path / "copy").chmod(0o755)
    with Store(tmp_path / "copy", embedder=None) as store:
        assert [item.text for item in store.memory("rag").items()] == ["My dog is called Biscuit."]


def test_read_only_leaves_no_file_of_its_own_behind(closed_store: Path) -> None:
    before = {path: path.read_bytes() for path in closed_store.rglob("*") if path.is_file()}
    with Store(closed_store, embedder=HashEmbedder(), read_only=True) as store:
        assert store.memory("rag", user="ada").search("dog")
    assert {path: path.read_bytes() for path in closed_store.rglob("*") if path.is_file()} == before
