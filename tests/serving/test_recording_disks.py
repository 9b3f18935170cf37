"""A disk that is full, hangs or refuses holds no answer up, and what could not be recorded is counted."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from serinus.records import Mark
from serving.marks import Marks, ModelMark
from serving.recording import Recorder
from tests.serving.recorded import EVENT_MS, ended, frame, mark_in, rows_in, wait_for


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A folder of logs; no spool of it is left."""
    yield tmp_path
    wait_for(lambda: ended(tmp_path))


@pytest.fixture
def small_disk(root: Path) -> Iterator[Path]:
    """A folder with room for 256 kB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    folder = root / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode()}")
    yield folder
    wait_for(lambda: ended(root))
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_counted_and_written_to_when_there_is_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b" " * (180 << 10))

    async def story() -> tuple[list[int], dict[str, Any], Mark | None]:
        recorder = Recorder(small_disk, "w", 64 << 10)
        marks = Marks(recorder, "w", 0.05)
        recorder.start()
        tasks = [asyncio.create_task(recorder.run()), asyncio.create_task(marks.keep_writing())]
        taken: list[int] = []
        for index in range(3_000):
            lost = recorder.status()["lost"].get("predictions", 0)
            recorder.append("predictions", marks.of("m"), "m", EVENT_MS + index * 60, [frame(index, 50)])
            if recorder.status()["lost"].get("predictions", 0) == lost:
                taken.append(index)
            if index % 10 == 0:
                await asyncio.sleep(0.001)
        full = recorder.status()
        with pytest.raises(OSError, match="not taken"):
            await marks.write("m", durable=True)
        ballast.unlink()
        await marks.write("m", durable=True)
        for task in tasks:
            task.cancel()
        mark = mark_in(small_disk, "w")
        await recorder.close()
        return taken, full, mark

    taken, full, mark = asyncio.run(story())
    assert full["errors"] > 0
    assert full["lost"]["predictions"] == 3_000 - len(taken) > 0
    assert mark is not None
    assert mark.lost == {"predictions": 3_000 - len(taken)}
    assert sum(mark.lost_by_minute.values()) == 3_000 - len(taken)
    wait_for(lambda: (last := mark_in(small_disk, "w")) and last.ended)
    assert rows_in(small_disk) == taken


@pytest.fixture
def freezing(root: Path) -> Iterator[tuple[Path, Callable[[str], None]]]:
    """An ext4 file system, and a call that freezes (`-f`) it: who writes to it then hangs until it is thawed (`-u`)."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount and freeze a file system")
    image, folder = root / "image", root / "disk"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(16 << 20)
    for command in (["mkfs.ext4", "-q", str(image)], ["mount", "-o", "loop", str(image), str(folder)]):
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"no ext4 can be mounted here: {done.stderr.decode()}")

    def freeze(how: str) -> None:
        subprocess.run(["fsfreeze", how, str(folder)], check=True)

    yield folder, freeze
    subprocess.run(["fsfreeze", "-u", str(folder)], capture_output=True, check=False)
    wait_for(lambda: ended(root))
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_hangs_delays_no_answer(freezing: tuple[Path, Callable[[str], None]]) -> None:
    folder, freeze = freezing

    async def story() -> tuple[dict[str, Any], dict[str, Any]]:
        recorder = Recorder(folder, "w", 1 << 20)
        marks = Marks(recorder, "w", 0.05)
        recorder.start()
        tasks = [asyncio.create_task(recorder.run()), asyncio.create_task(marks.keep_writing())]
        recorder.append("predictions", marks.of("m"), "m", EVENT_MS, [frame(0)])
        await marks.write("m", durable=True)
        freeze("-f")
        try:
            for index in range(1, 2_000):  # were one of these to wait for the disk, nobody would ever thaw it
                recorder.append("predictions", marks.of("m"), "m", EVENT_MS, [frame(index, 50)])
                if index % 20 == 0:
                    await asyncio.sleep(0.001)
            frozen = recorder.status()
        finally:
            freeze("-u")
        await marks.write("m", durable=True)
        thawed = recorder.status()
        for task in tasks:
            task.cancel()
        await recorder.close()
        return frozen, thawed

    frozen, thawed = asyncio.run(story())
    assert frozen["written"] < 2_000
    assert frozen["lag_bytes"] > 0
    assert (frozen["lost"], thawed["written"], thawed["lag_bytes"], thawed["starts"]) == ({}, 2_000, 0, 1)
    assert rows_in(folder) == list(range(2_000))


def test_a_folder_that_can_never_be_written_to_holds_no_other_model_up(root: Path) -> None:
    (root / "predictions").mkdir()
    (root / "predictions" / "bad").write_text("a file")

    async def story() -> dict[str, Any]:
        recorder = Recorder(root, "w", 64 << 10)
        marks = Marks(recorder, "w", 0.05)
        recorder.start()
        recorder.append("predictions", marks.of("bad"), "bad", EVENT_MS, [frame(1), frame(2)])
        recorder.append("predictions", marks.of("m"), "m", EVENT_MS, [frame(3)])
        await marks.write_all()
        status = recorder.status()
        await recorder.close()
        return status

    status = asyncio.run(story())
    assert (status["written"], status["given_up"], status["lag_bytes"]) == (1, 2, 0)
    assert rows_in(root) == [3]
    mark = msgspec.json.decode((root / "marks" / "bad" / "w.json").read_bytes(), type=Mark)
    assert mark.lost == {"predictions": 2}
    assert sum(mark.lost_by_minute.values()) == 2


def test_what_does_not_fit_is_lost_and_named(root: Path) -> None:
    mark, recorder = ModelMark(), Recorder(root, "w", 10_000)
    recorder.append("predictions", mark, "m", EVENT_MS, [b"x" * 20_000])
    recorder.append("inputs", mark, "m", EVENT_MS, [b"x" * 20_000])
    assert mark.lost == {"predictions": 1, "inputs": 1}
    assert mark.lost_by_minute == {EVENT_MS // 60_000: 1}
    large = Recorder(root, "v", 4 << 20)
    large.append(
        "inputs", mark, "m", EVENT_MS, [b"x" * (1 << 20), b"x" * ((1 << 20) + 1)]
    )  # no reader takes such a row
    assert mark.lost["inputs"] == 3
