"""The supervisor of a stack: starts its processes in order, keeps them running, stops them in reverse."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from deploy.child import Child, rotate
from deploy.processes import end, marked, reap_orphans
from deploy.settings import ProcessSpec
from serinus.errors import SerinusError
from serinus.home import Home, Stack, StackState, write_whole

__all__ = ["DidNotStart", "Supervisor"]

TICK_S = 0.1
TIDY_EVERY_S = 10.0
GRACE_S = 30.0


class DidNotStart(SerinusError):
    """A process ended, or was not ready in time, before the stack was up."""

    hint = "the log that is named has the rest"


class Supervisor:
    """Runs until `stopping` is set. One thread; `say` gets a line for people now and then."""

    def __init__(
        self,
        home: Home,
        specs: tuple[ProcessSpec, ...],
        stack: Stack,
        stopping: threading.Event,
        say: Callable[[str], None],
    ) -> None:
        self.home, self.stack, self.stopping, self.say = home, stack, stopping, say
        self.children = {spec.name: Child(spec, stack.stack, home.logs, home.path) for spec in specs}
        self.phase: StackState = StackState(stack=stack.stack, pid=stack.pid, phase="starting")
        self._written: StackState | None = None
        self._tidy_at = 0.0

    def run(self) -> None:
        """Start all, keep them running, stop all. Raises DidNotStart after having stopped all again."""
        failure: SerinusError | None = None
        try:
            self._start_all()
            if not self.stopping.is_set():
                write_whole(self.home.stack_file, self.stack)
                self._phase("ready")
                self.say(f"ready: {self.stack.api} (controller), {self.stack.serving} (serving)")
            while not self.stopping.is_set():
                self._step()
        except DidNotStart as error:
            failure = error
            raise
        finally:
            self._stop_all(failure)

    def _start_all(self) -> None:
        """Start each when those that it waits for are ready, until all are ready or one is not to be had."""
        while not self.stopping.is_set() and any(c.state.state != "ready" for c in self.children.values()):
            for child in self.children.values():
                if child.state.state == "waiting" and all(
                    self.children[name].state.state == "ready" for name in child.spec.after
                ):
                    child.start(time.monotonic())
            self._step()
            for child in self.children.values():
                if child.state.state == "backing_off":
                    why = f"{child.spec.name} {child.state.ended}; its last lines:\n{child.tail()}"
                    raise DidNotStart(why, f"the rest is in {child.log}")

    def _step(self) -> None:
        before = {name: child.state.state for name, child in self.children.items()}
        for name, child in self.children.items():
            child.step(time.monotonic())
            if child.state.state != before[name]:
                failed = child.state.state == "backing_off"
                self.say(f"{name} {child.state.ended}, trying again" if failed else f"{name}: {child.state.state}")
        if time.monotonic() >= self._tidy_at:
            reap_orphans(child.process.pid for child in self.children.values() if child.process is not None)
            self._tidy_at = time.monotonic() + TIDY_EVERY_S
            for log in (*(child.log for child in self.children.values()), self.home.logs / "supervisor.log"):
                rotate(log)
        self._write()
        self.stopping.wait(TICK_S)

    def _stop_all(self, failure: SerinusError | None) -> None:
        self.home.stack_file.unlink(missing_ok=True)
        self._phase("stopping")
        for child in reversed(self.children.values()):
            if killed := child.stop(GRACE_S):
                self.say(f"{child.spec.name}: {killed} processes had to be killed")
            self._write()
        end(marked(self.stack.stack), 2.0)
        reap_orphans(())
        if failure is None:
            self._phase("stopped")
        else:
            self.phase = self.phase.model_copy(update={"problem": failure.detail, "hint": failure.advice})
            self._phase("failed")

    def _phase(self, phase: str) -> None:
        self.phase = self.phase.model_copy(update={"phase": phase})
        self._write()

    def _write(self) -> None:
        states = tuple(child.state for child in self.children.values())
        state = self.phase.model_copy(update={"processes": states})
        if state != self._written:
            write_whole(self.home.state_file, state)
            self._written = state


def end_leftovers(home: Home) -> int:
    """End what a supervisor that crashed left behind. Gives how many processes there were."""
    state = home.state()
    home.stack_file.unlink(missing_ok=True)
    left = marked(state.stack) if state is not None else []
    end(left, 3.0)
    return len(left)


def ready_folder(home: Home) -> None:
    """Make the state folder, for its owner alone."""
    home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in (home.logs, home.path / "packages", home.path / "log", home.path / "routes"):
        Path(folder).mkdir(exist_ok=True)
