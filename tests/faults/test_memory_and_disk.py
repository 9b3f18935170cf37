"""Memory that is devoured, a store and a disk that are gone, a label flood: stable answers, losses are counted."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from serinus.routes import PackageRef
from serving.assignment import bucket_of
from tests.faults.checks import later, load, no_failure
from tests.faults.conftest import VERSIONS
from tests.faults.odd import write_odd
from tests.pool.processes import has_ended
from tests.pool.stack import Stack, wait_for

Seen = Callable[[str], None]
CANDIDATE_MB = 400
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of its own with 48 MB."""
    folder = tmp_path_factory.mktemp("small")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("cannot mount here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="module")
def small(
    tmp_path_factory: pytest.TempPathFactory, packages: dict[int, PackageRef], small_disk: Path
) -> Iterator[Stack]:
    """A pool whose log is on a small disk and whose candidate may take little memory."""
    settings = {"SERINUS_LOG": str(small_disk / "log"), "SERINUS_CANDIDATE_MEMORY_MB": str(CANDIDATE_MB)}
    stack = Stack(tmp_path_factory.mktemp("small-stack"), packages, True, **settings)
    try:
        yield stack
    finally:
        stack.stop()


@needs_root
def test_a_candidate_that_devours_memory_is_refused_it_and_replaced(small: Stack, seen: Seen) -> None:
    version = next(number for number, name in VERSIONS.items() if name == "greedy")
    both = {"late": version, "cancelled": version}
    table = small.route(candidate=both, canary_bp=500, expires_at=later(600), rollout="r")
    entity = next(f"e{i}" for i in range(10_000) if bucket_of(table.salt, f"e{i}") < 500)
    (first,) = small.replicas("Candidate")
    at_start, most = first.memory_info().rss, [0]

    def devour(mb: int) -> str:
        answer = small.infer(hour=100.0 + mb, entity=entity)
        for process in small.replicas("Candidate"):
            with contextlib.suppress(psutil.Error):
                most[0] = max(most[0], process.memory_info().rss)
        return str(answer["outputs"][0]["parameters"]["fallback"])

    with load(small) as run:
        wait_for(lambda: devour(50) == "", 30)  # the first pages of so much memory may take longer than it has
        assert devour(20_000) == "stable"  # 20 GB: refused by the kernel, and the process lives
        assert not has_ended(first)
        more = itertools.cycle(range(20, 130, 5))  # the arena keeps what each took: it leaks
        wait_for(lambda: (devour(next(more)) and False) or has_ended(first), 240)
        run.more(3, lambda o: o.arm == "canary" and not o.fallback)
    seen(f"{run.summary()}; its process took {most[0] >> 20} MB at most, {at_start >> 20} MB at its start")
    no_failure(small, run)
    assert most[0] - at_start < 1.5 * CANDIDATE_MB * 2**20


def test_the_package_store_is_gone(stack: Stack, seen: Seen, tmp_path: Path) -> None:
    """What is in force goes on, a replica that starts meanwhile has its packages from this machine's cache."""
    stack.route(packages={1: write_odd(tmp_path / "store" / "1", 1, "nan")})
    with load(stack) as run:
        run.more(20)
        shutil.rmtree(tmp_path / "store")
        victim = stack.replicas("FrontDoor")[0]
        victim.kill()
        wait_for(lambda: stack.applied_by("front") == [stack.epoch] * 2, 120)
        run.more(50)
    seen(run.summary())
    no_failure(stack, run)


@needs_root
def test_the_disk_is_full(small: Stack, small_disk: Path, seen: Seen) -> None:
    """Requests are answered, what cannot be recorded is counted, and once there is room rows are written again."""
    small.route()
    filler = small_disk / "filler"
    with load(small) as run:
        run.more(50)
        with contextlib.suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(b"x" * (1 << 16))
        assert os.statvfs(small_disk).f_bavail == 0
        run.more(300)
        filler.unlink()
        run.more(50)
        before = len(run.outcomes)
        run.more(100)
    seen(run.summary())
    assert run.failed == [], run.why()

    def accounted() -> bool:
        written = {row.id for row in small.predictions()}
        lost = sum(sum(mark.lost.values()) for mark in small.marks())
        missing = sum(uuid.UUID(o.id).bytes not in written for o in run.answered)
        tail = all(uuid.UUID(o.id).bytes in written for o in run.outcomes[before + 20 :])
        counts[:] = [missing, lost]
        return tail and missing <= lost

    counts: list[int] = []
    wait_for(accounted, 30)
    seen("{} answers are not in the log, {} rows were counted as lost".format(*counts))


def test_a_label_flood(stack: Stack, seen: Seen) -> None:
    """Eight clients send batches of labels as fast as they can: predictions are answered, no label call fails."""
    identities = [stack.infer()["id"] for _ in range(50)]
    body = {"model": "flights", "labels": [{"id": i, "task": "late", "value": 1} for i in identities * 20]}
    stop, codes = threading.Event(), list[int]()

    def flood() -> None:
        with httpx.Client(base_url=stack.ready["url"], timeout=30.0, trust_env=False) as http:
            while not stop.is_set():
                codes.append(http.post("/v1/labels", json=body).status_code)

    with load(stack) as run, ThreadPoolExecutor(8) as pool:
        floods = [pool.submit(flood) for _ in range(8)]
        try:
            run.more(400)
        finally:
            stop.set()
        for each in floods:
            each.result(60)
    seen(f"{run.summary()}; {len(codes)} calls of 1,000 labels")
    assert set(codes) <= {200, 503}
    no_failure(stack, run)
