"""Pictures kept by content: once drawn, never drawn again, and never trusted when damaged."""

from __future__ import annotations

import hashlib
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from memagent_renderers import Budget, Page, PictureCache, fit, render
from memagent_renderers.cache import content_key, is_whole_png
from memagent_renderers.engines.fake import FakeEngine


class Counting(FakeEngine):
    drawn = 0

    def draw(self, page: Page) -> bytes:
        self.drawn += 1
        return super().draw(page)


def png(seed: int) -> bytes:
    return FakeEngine().draw(fit(f"word {seed}", Budget(4)))


def test_a_page_is_drawn_once_for_all_caches_of_a_folder(tmp_path: Path) -> None:
    engine = Counting()
    pictures = [render("# Ada", Budget(16), engine=engine, cache=PictureCache(tmp_path)) for _ in range(3)]
    assert engine.drawn == 1
    assert pictures[0] == pictures[1] == pictures[2]


def test_other_budgets_documents_and_engines_are_other_pictures(tmp_path: Path) -> None:
    engine, cache = Counting(), PictureCache(tmp_path)
    text = "word " * 200
    render(text, Budget(16), engine=engine, cache=cache)
    render(text, Budget(64), engine=engine, cache=cache)
    render("x" + text, Budget(16), engine=engine, cache=cache)
    engine.version = "other"
    render(text, Budget(16), engine=engine, cache=cache)
    assert engine.drawn == 4


def test_keys_keep_parts_apart() -> None:
    assert content_key("ab", "c") != content_key("a", "bc")
    assert content_key("\ud800")


@pytest.mark.skipif(os.name != "posix", reason="POSIX modes")
def test_files_are_the_owners_alone(tmp_path: Path) -> None:
    cache = PictureCache(tmp_path / "pictures")
    cache.put("a" * 64, png(1))
    path = cache.path("a" * 64)
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("damage", [b"", b"not a picture", None, "flip"])
def test_a_damaged_file_counts_as_absent_and_is_drawn_again(tmp_path: Path, damage: bytes | str | None) -> None:
    engine = Counting()
    picture = render("# Ada", Budget(16), engine=engine, cache=PictureCache(tmp_path))
    (path,) = tmp_path.glob("*.png")
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    path.write_bytes(damage if isinstance(damage, bytes) else flipped if damage else whole[:-20])
    again = render("# Ada", Budget(16), engine=engine, cache=PictureCache(tmp_path))
    assert again == picture
    assert engine.drawn == 2
    assert is_whole_png(path.read_bytes())


def test_the_disk_stays_within_bounds_and_the_recently_used_stay(tmp_path: Path) -> None:
    size = len(png(0))
    cache = PictureCache(tmp_path, max_bytes=20 * size, memory_bytes=0)
    favourite = content_key("favourite")
    cache.put(favourite, png(0))
    path = cache.path(favourite)
    assert path is not None
    for number in range(200):
        cache.put(content_key(str(number)), png(number))
        os.utime(path)
    assert 0 < cache.size <= 22 * size
    assert cache.get(favourite) == png(0)


_SHARING = """import sys; from memagent_renderers import Budget, PictureCache, render; import hashlib
cache = PictureCache(sys.argv[1], max_bytes=20_000)
pngs = [render(f"# Note {number % 40}", Budget(64), cache=cache).png for number in range(int(sys.argv[2]), 120)]
print(hashlib.sha256(b"".join(pngs[-40:])).hexdigest())"""


@pytest.mark.slow
def test_processes_share_a_folder_that_overflows(tmp_path: Path) -> None:
    """Both write, read and sweep the same files at once, the second somewhat ahead of the first."""
    command = [sys.executable, "-c", _SHARING, str(tmp_path)]
    both = [subprocess.Popen([*command, start], stdout=subprocess.PIPE, text=True) for start in ("0", "17")]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    wanted = b"".join(render(f"# Note {number % 40}", Budget(64)).png for number in range(80, 120))
    assert {digest.strip() for digest in said} == {hashlib.sha256(wanted).hexdigest()}
    assert all(is_whole_png(path.read_bytes()) for path in tmp_path.iterdir())
    assert 0 < PictureCache(tmp_path, max_bytes=20_000).size <= 20_000


def test_a_cache_sent_to_another_process_is_of_the_same_folder_and_holds_nothing_in_memory(tmp_path: Path) -> None:
    sent = pickle.loads(pickle.dumps(PictureCache(tmp_path)))
    picture = render("# Ada", Budget(16), engine=FakeEngine(), cache=sent)
    assert len(list(tmp_path.glob("*.png"))) == 1
    PictureCache(tmp_path).clear()
    engine = Counting()
    assert render("# Ada", Budget(16), engine=engine, cache=sent) == picture
    assert engine.drawn == 1


def test_clear_forgets_memory_and_disk(tmp_path: Path) -> None:
    engine, cache = Counting(), PictureCache(tmp_path)
    render("# secret", Budget(16), engine=engine, cache=cache)
    cache.clear()
    assert list(tmp_path.iterdir()) == []
    render("# secret", Budget(16), engine=engine, cache=cache)
    assert engine.drawn == 2


def test_a_cache_without_a_folder_lives_in_memory() -> None:
    engine, cache = Counting(), PictureCache(None)
    for _ in range(2):
        render("# Ada", Budget(16), engine=engine, cache=cache)
    assert engine.drawn == 1
    assert cache.path("x") is None
