"""Whatever is killed, stopped or full: no answer waits, and what was recorded comes into the log or is counted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from serinus.records import LabelRow, Mark, encode_row, read_rows
from serving.marks import Marks, ModelMark
from serving.recording import Recorder
from serving.ring import TAIL, Damaged, Ring, prefix_of

EVENT_MS = 1_365_000_000_000
DOOR = """
import asyncio, sys, os
from pathlib import Path
from serinus.records import LabelRow, encode_row
from serving.marks import Marks
from serving.recording import Recorder

async def main(root, name, pause):
    recorder = Recorder(Path(root), name, 1 << 20)
    marks = Marks(recorder, name, 0.02)
    recorder.start()
    tasks = [asyncio.create_task(recorder.run()), asyncio.create_task(marks.keep_writing())]
    number = 0
    while True:
        row = encode_row(LabelRow(name[:16].encode().ljust(16), number, "t" * (number % 900), 1.0, 0))
        before = recorder.status()["lost"]
        recorder.append("predictions", marks.of("m"), "m", 1_365_000_000_000 + number % 3 * 3_600_000, [row])
        if recorder.status()["lost"] == before:
            os.write(1, b"%d\\n" % number)
        number += 1
        if number % 8 == 0:
            await asyncio.sleep(pause)

asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
"""


def frame(index: int, size: int = 0) -> bytes:
    return encode_row(LabelRow(b"i" * 16, index, "t" * size, 1.0, 0))


def put_rows(ring: Ring, model: str, frames: list[bytes]) -> bool:
    return ring.put(prefix_of("predictions", model, EVENT_MS // 3_600_000, len(frames)), frames)


def rows_in(root: Path) -> list[int]:
    """Indexes of all rows, in the order of the files."""
    return [
        msgspec.msgpack.decode(payload, type=LabelRow).index
        for path in sorted(root.glob("predictions/m/*/*.log"))
        for _end, payload in read_rows(path.read_bytes())
    ]


def mark_in(root: Path, name: str) -> Mark | None:
    path = root / "marks" / "m" / f"{name}.json"
    return msgspec.json.decode(path.read_bytes(), type=Mark) if path.exists() else None


def wait_for(holds: Callable[[], Any], within_s: float = 30.0) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := holds()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return found


def spools(root: Path) -> list[psutil.Process]:
    """Living processes that are, or become, spools of this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
            if "serving.spool" in line and str(root) in line and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def ended(root: Path) -> bool:
    """Whether there is none, looked at twice: one may be forking while all processes are gone through."""
    return not spools(root) and not spools(root)


def at_work(root: Path) -> list[psutil.Process]:
    """Spools that have left their front door's session."""
    found = []
    for spool in spools(root):
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(spool.pid) == spool.pid:
                found.append(spool)
    return found


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A folder of logs; no spool of it is left."""
    yield tmp_path
    wait_for(lambda: ended(tmp_path))


class FrontDoor:
    """A process that records rows as a front door does, and says the number of each that was taken."""

    def __init__(self, root: Path, name: str) -> None:
        command = [sys.executable, "-c", DOOR, str(root), name, "0.001"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
        self.said: list[int] = []
        self._listening = threading.Thread(target=self._listen)
        self._listening.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith(b"\n"):
                self.said.append(int(line))

    def goes_on(self, rows: int) -> None:
        """Wait until it has said so many more."""
        wanted = len(self.said) + rows
        wait_for(lambda: len(self.said) >= wanted)

    def is_quiet(self) -> bool:
        before = len(self.said)
        time.sleep(0.5)
        return len(self.said) == before

    def kill(self) -> set[int]:
        """Everything it said before it was killed, just now."""
        self.process.kill()
        self.process.wait()
        self._listening.join()
        return set(self.said)


@pytest.fixture
def door(root: Path) -> Iterator[Callable[..., FrontDoor]]:
    running: list[FrontDoor] = []

    def started(name: str = "w") -> FrontDoor:
        running.append(FrontDoor(root, name))
        return running[-1]

    yield started
    for each in running:
        each.kill()


def test_what_was_put_is_taken_in_order_round_and_round() -> None:
    ring, pick, put, taken = Ring.create(3_001), random.Random(5), 0, []
    other = Ring(os.dup(ring.fd))
    while len(taken) < 5_000:
        while put_rows(ring, "m", [frame(put, pick.randrange(300))]):
            put += 1
        envelopes, position = other.take(pick.randrange(1, 3_000))
        assert envelopes == other.take(position - other.words[TAIL])[0]  # they stay until they are let go of
        other.release(position)
        for part in envelopes:
            rows = read_rows(b"serinus-log 1\n" + part.frames)
            taken += [msgspec.msgpack.decode(payload, type=LabelRow).index for _end, payload in rows]
    assert taken == list(range(len(taken)))
    assert put >= len(taken)


def test_rows_of_one_file_are_written_together_in_their_order() -> None:
    ring = Ring.create(1 << 16)
    for index in range(6):
        assert put_rows(ring, "m/n" if index % 3 else "m", [frame(index), frame(index + 10)])
    parts = ring.take(1 << 16)[0]
    assert [(part.model, part.rows) for part in parts] == [("m", 4), ("m/n", 8)]
    assert parts[0].frames == frame(0) + frame(10) + frame(3) + frame(13)


def test_memory_that_was_altered_is_noticed() -> None:
    ring = Ring.create(1 << 16)
    put_rows(ring, "m", [frame(1)])
    raw = bytearray(os.pread(ring.fd, 400, os.fstat(ring.fd).st_size - ring.size))
    raw[60] ^= 1
    os.pwrite(ring.fd, raw, os.fstat(ring.fd).st_size - ring.size)
    with pytest.raises(Damaged, match="CRC"):
        ring.take(1 << 16)


def test_the_newest_board_is_seen_with_its_place() -> None:
    ring = Ring.create(1 << 16)
    assert ring.board() is None
    for number in range(1, 5):
        put_rows(ring, "m", [frame(number)])
        assert ring.show(b"board %d" % number) == number
        assert ring.board() == (number, ring.head, b"board %d" % number)
    with pytest.raises(ValueError, match="at most"):
        ring.show(b" " * (1 << 20))


@pytest.mark.parametrize("seed", range(6))
def test_what_a_killed_front_door_recorded_is_in_the_log(root: Path, door: Any, seed: int) -> None:
    running = door(f"w{seed}")
    running.goes_on(1)
    time.sleep(random.Random(seed).random() * 0.6)  # before, while and after its spool starts
    taken = running.kill()
    wait_for(lambda: ended(root))
    found = rows_in(root)
    assert taken <= set(found)
    assert len(found) == len(set(found))
    assert len(found) <= len(taken) + 1  # the one that was taken but not yet told of
    mark = mark_in(root, f"w{seed}")
    assert mark is None or mark.ended


def test_what_a_killed_spool_had_not_written_its_successor_writes(root: Path, door: Any) -> None:
    running, pick = door(), random.Random(1)
    for _ in range(5):
        running.goes_on(300)
        victim = wait_for(lambda: at_work(root))[0]
        time.sleep(pick.random() * 0.2)
        victim.kill()
        wait_for(lambda pid=victim.pid: any(spool.pid != pid for spool in at_work(root)))
    running.goes_on(300)
    taken = running.kill()
    wait_for(lambda: ended(root))
    assert taken <= set(rows_in(root))
    mark = mark_in(root, "w")
    assert mark is not None
    assert mark.ended


def test_a_spool_that_hangs_holds_nothing_up_and_every_row_is_in_the_log_or_counted(root: Path, door: Any) -> None:
    running = door()
    running.goes_on(200)
    (spool,) = wait_for(lambda: at_work(root))
    wait_for(lambda: mark_in(root, "w"))
    spool.suspend()
    try:
        running.goes_on(1_500)  # about 700 kB: less than the memory, more than any pipe
        wait_for(running.is_quiet)  # it goes on, and nothing is taken any more
        assert running.process.poll() is None
        written = mark_in(root, "w")
        assert written is not None
        assert written.lost == {}  # what it has lost since stands in no mark yet
    finally:
        spool.resume()
    running.goes_on(100)
    taken = running.kill()
    wait_for(lambda: ended(root))
    found, mark = rows_in(root), mark_in(root, "w")
    assert mark is not None
    assert taken <= set(found)
    assert mark.lost["predictions"] > 0
    assert sum(mark.lost_by_minute.values()) == mark.lost["predictions"]
    assert max(found) + 1 >= len(found) + mark.lost["predictions"]  # nothing is both there and lost


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


def test_the_spool_is_nobodys_child(root: Path, door: Any) -> None:
    """Ray ends the children of a worker with it; and a signal to the group of a front door is not the spool's."""
    running = door()
    running.goes_on(50)
    (spool,) = wait_for(lambda: at_work(root))
    wait_for(lambda: spool.ppid() != running.process.pid)
    os.kill(spool.pid, signal.SIGTERM)  # told to end, it still waits for its front door
    running.goes_on(200)
    assert spool.is_running()
    taken = running.kill()
    wait_for(lambda: ended(root))
    assert taken <= set(rows_in(root))
