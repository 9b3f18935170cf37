"""Jobs in processes of their own: resumed after every kill, ended when told, never waited for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from monitors import jobs
from monitors.jobs import JobDesk
from serinus.jobs import JOB_LEASE_S, RESULT_BYTES, Job, JobReport

ROOT = Path(__file__).parents[2]
CHILD = """
import json, os, sys, time
from pathlib import Path
from monitors import job_child
from serinus.errors import BadInput

def run(job, log, state, progress):
    tries = state / "tries"
    with tries.open("a") as file:
        file.write(f"{os.getpid()} {os.nice(0)} {os.getpgid(0) == os.getpid()}\\n")
    if job.params.get("refuse"):
        raise BadInput("there is [no] such thing")
    if job.params.get("crash", 0) >= len(tries.read_text().splitlines()):
        print("the last words", file=sys.stderr)
        os.abort()
    if job.params.get("raises"):
        raise ZeroDivisionError("by nought")
    if job.params.get("deaf"):
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for step in range(1, 5):
        done = state / f"step-{step}"
        if not done.exists():
            done.touch()
            progress(step / 5, f"step {step} of {log.name}")
            while job.params.get("until") and step == 3 and not Path(job.params["until"]).exists():
                time.sleep(0.01)
                progress(step / 5, f"step {step} of {log.name}")
    return {"steps": 4, "text": "x" * job.params.get("large", 0), "e": float("inf")}

sys.modules["a_runner"] = sys.modules["__main__"]
job_child.RUNNERS["plan"] = "a_runner:run"
sys.exit(job_child.main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
"""


def until(condition: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)
    return found


class Clock:
    """Real seconds, and what a test adds to them."""

    def __init__(self) -> None:
        self.more = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.more


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobDesk]:
    monkeypatch.setattr(jobs, "AGAIN_S", 0.01)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    made = JobDesk(tmp_path / "log", tmp_path / "state", clock, (sys.executable, "-c", CHILD))
    yield made
    made.close()


def job_of(name: str = "j1", **params: Any) -> Job:
    return Job(id=name, kind="plan", model="ads", params=params)


def ended(desk: JobDesk, held: tuple[Job, ...]) -> JobReport:
    """The last report, with exchanges going on meanwhile."""

    def step() -> JobReport | None:
        (report,) = desk.reports()
        if report.state != "running":
            return report
        desk.take_on(held)
        return None

    found: JobReport = until(step)
    return found


def tries(tmp_path: Path, name: str = "j1") -> list[str]:
    path = tmp_path / "state" / "jobs" / name / "work" / "tries"
    return path.read_text().splitlines() if path.exists() else []


def test_a_job_runs_beside_the_monitor_and_its_result_is_told_until_it_is_heard(desk: JobDesk, tmp_path: Path) -> None:
    assert desk.free
    job = job_of()
    desk.take_on((job,))
    assert not desk.free
    report = ended(desk, (job,))
    assert (report.state, report.progress) == ("done", 1.0)
    assert report.result == {"steps": 4, "text": "", "e": "Infinity"}
    _, nice, leads = tries(tmp_path)[0].split()
    assert (int(nice) >= 10, leads) == (True, "True")
    assert desk.reports() == (report,)
    desk.take_on(())
    assert (desk.free, desk.reports()) == (True, ())
    assert not (tmp_path / "state" / "jobs" / "j1").exists()


def test_progress_is_told_while_it_runs_and_nothing_waits_for_it(desk: JobDesk, tmp_path: Path) -> None:
    job = job_of(until=str(tmp_path / "go"))
    desk.take_on((job,))
    until(lambda: "step 3" in desk.reports()[0].said)
    assert desk.reports()[0].progress == pytest.approx(0.6)
    (tmp_path / "go").touch()
    assert ended(desk, (job,)).state == "done"


def test_a_crash_is_tried_again_from_its_state_three_times_in_all(desk: JobDesk, tmp_path: Path) -> None:
    once = job_of("j1", crash=1)
    desk.take_on((once,))
    assert ended(desk, (once,)).state == "done"
    assert len(tries(tmp_path)) == 2
    desk.take_on(())
    ever = job_of("j2", crash=99)
    desk.take_on((ever,))
    report = ended(desk, (ever,))
    assert report.state == "failed"
    assert "-6, 3 times" in report.said
    assert "the last words" in report.said
    assert len(tries(tmp_path, "j2")) == 3


def test_what_cannot_be_done_is_not_tried_again(desk: JobDesk, tmp_path: Path) -> None:
    for name, params, said in (("j1", {"refuse": True}, "there is [no] such thing"),):
        job = job_of(name, **params)
        desk.take_on((job,))
        assert ended(desk, (job,)) == JobReport(id=name, state="failed", said=said)
        assert len(tries(tmp_path, name)) == 1
        desk.take_on(())
    strange = job_of("../../elsewhere")
    desk.take_on((strange,))
    assert "cannot name a folder" in ended(desk, (strange,)).said
    desk.take_on(())
    assert list(tmp_path.iterdir()) == [tmp_path / "state"]


def test_a_monitor_that_cannot_keep_a_job_says_so_and_goes_on(desk: JobDesk, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    desk.take_on((job_of(),))
    assert "cannot write its state" in desk.reports()[0].said
    desk.take_on(())
    (tmp_path / "state").unlink()
    job = job_of("j2", crash=99)
    desk.take_on((job,))
    (tmp_path / "state" / "jobs" / "j2" / "crashes").mkdir()
    report = ended(desk, (job,))
    assert report.state == "failed"
    assert "cannot look after it" in report.said


def test_an_exception_comes_with_its_last_lines(desk: JobDesk) -> None:
    job = job_of(raises=True)
    desk.take_on((job,))
    assert "ZeroDivisionError: by nought" in ended(desk, (job,)).said


def test_a_result_that_is_too_large_is_a_failure(desk: JobDesk) -> None:
    job = job_of(large=RESULT_BYTES)
    desk.take_on((job,))
    report = ended(desk, (job,))
    assert (report.state, report.result) == ("failed", None)
    assert "bytes large" in report.said


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("deaf", [False, True])
def test_a_job_that_is_no_longer_ours_is_ended_and_killed_when_it_does_not_listen(
    desk: JobDesk, tmp_path: Path, clock: Clock, deaf: bool
) -> None:
    job = job_of(until=str(tmp_path / "go"), deaf=deaf)
    desk.take_on((job,))
    until(lambda: "step 3" in desk.reports()[0].said)
    pid = int(tries(tmp_path)[0].split()[0])
    desk.take_on(())
    assert desk.reports() == ()
    if deaf:
        assert not desk.free
        assert alive(pid)
        clock.more += jobs.GRACE_S
    until(lambda: desk.reports() == () and desk.free)
    assert not alive(pid)
    (tmp_path / "go").touch()
    desk.take_on((job,))  # another one had it, and lost it: it goes on, it does not begin again
    assert ended(desk, (job,)).state == "done"
    assert len(tries(tmp_path)) == 2


def test_a_monitor_that_reaches_nobody_for_a_lease_leaves_its_job(desk: JobDesk, tmp_path: Path, clock: Clock) -> None:
    job = job_of(until=str(tmp_path / "go"))
    desk.take_on((job,))
    until(lambda: "step 3" in desk.reports()[0].said)
    pid = int(tries(tmp_path)[0].split()[0])
    clock.more += JOB_LEASE_S + 1
    assert desk.reports() == ()
    until(lambda: desk.reports() == () and not alive(pid))


def test_two_monitors_with_one_state_do_not_run_a_job_at_once(desk: JobDesk, tmp_path: Path, clock: Clock) -> None:
    job = job_of(until=str(tmp_path / "go"))
    desk.take_on((job,))
    until(lambda: "step 3" in desk.reports()[0].said)
    second = JobDesk(desk.log, desk.state, clock, desk.command)
    try:
        second.take_on((job,))
        until(lambda: second.reports() and second.child is None)
        assert len(tries(tmp_path)) == 1
        desk.take_on(())
        (tmp_path / "go").touch()
        assert ended(second, (job,)).state == "done"
    finally:
        second.close()


KEEPER = """
import sys, time
from pathlib import Path
from monitors.jobs import JobDesk
from serinus.jobs import Job
desk = JobDesk(Path(sys.argv[1]), Path(sys.argv[2]), time.monotonic, (sys.executable, "-c", sys.argv[3]))
job = Job.model_validate_json(sys.argv[4])
while True:
    desk.take_on((job,))
    desk.reports()
    time.sleep(0.01)
"""


def test_a_child_dies_with_its_monitor_and_the_next_one_goes_on(desk: JobDesk, tmp_path: Path) -> None:
    job = job_of(until=str(tmp_path / "go"))
    words = [str(desk.log), str(desk.state), CHILD, job.model_dump_json()]
    keeper = subprocess.Popen([sys.executable, "-c", KEEPER, *words], cwd=ROOT)
    try:
        until((tmp_path / "state/jobs/j1/work/step-3").exists)
        pid = int(tries(tmp_path)[0].split()[0])
        assert alive(pid)
    finally:
        keeper.send_signal(signal.SIGKILL)
        keeper.wait(timeout=20)
    until(lambda: not alive(pid))
    desk.take_on((job,))
    assert ended(desk, (job,)).state == "done"  # the step that waited was begun already
    assert len(tries(tmp_path)) == 2
    assert not (tmp_path / "go").exists()


def test_a_result_that_nobody_could_be_told_of_is_not_computed_again(desk: JobDesk, tmp_path: Path) -> None:
    job = job_of()
    folder = tmp_path / "state" / "jobs" / "j1"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps({"steps": 4}))
    desk.take_on((job,))
    assert desk.reports()[0].result == {"steps": 4}
    assert tries(tmp_path) == []
    assert os.listdir(folder / "work") == []
