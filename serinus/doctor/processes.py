"""The processes of a local stack: what its supervisor wrote down, against what there is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from serinus.doctor.finding import Finding, runbook
from serinus.home import ProcessState, StackState

__all__ = ["condition", "judge_processes"]

LATELY_S = 900.0
"""A restart that is longer ago is history."""
CONDITIONS = {"T": "stopped by a signal", "t": "held by a debugger", "Z": "dead, and nobody has noticed"}


def condition(pid: int) -> str:
    """The letter of a process's state as Linux gives it (`R`, `S`, `T`, ...); "" when there is no such process.

    "?" where the system does not say."""
    if not Path("/proc/self/stat").is_file():
        return "?"
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def judge_processes(
    home: Path, state: StackState | None, alive: bool, conditions: dict[int, str], now: float
) -> list[Finding]:
    """`alive`: the supervisor is. `conditions`: pid -> letter. `now`: Unix seconds."""
    up = f"serinus up --home {home}"
    if state is None:
        return [_wrong("no stack", f"no stack was ever started in {home}", f"{up}; or SERINUS_API=URL serinus doctor")]
    if not alive:
        if state.phase == "failed":
            return [_wrong("stack", state.problem or "the stack did not come up", state.hint or up)]
        if state.phase == "stopped":
            return [_wrong("stack is down", f"the stack in {home} was stopped", up)]
        text = f"the supervisor (process {state.pid}) has died without stopping its stack"
        return [_wrong("supervisor is dead", text, f"{up}: it ends what is left and starts again")]
    found = []
    if state.phase != "ready":
        found.append(
            Finding(level="look", what="stack", text=f"the stack is {state.phase}", do="ask again in a minute")
        )
    if conditions.get(state.pid, "?") in CONDITIONS:
        text = f"the supervisor (process {state.pid}) is {CONDITIONS[conditions[state.pid]]}: it starts nothing again"
        found.append(_wrong("supervisor hangs", text, f"kill -CONT {state.pid}"))
    return [*found, *_each(state.processes, conditions, now)]


def _each(processes: Iterable[ProcessState], conditions: dict[int, str], now: float) -> Iterable[Finding]:
    for each in processes:
        letter = conditions.get(each.pid, "") if each.pid is not None else ""
        if each.state == "backing_off":
            text = f"{each.name} {each.ended or 'has ended'}; it is started again and again ({each.restarts} times)"
            yield _wrong(f"{each.name} is down", text, f"the last lines of {each.log} say why")
        elif each.state in {"stopped", "stopping"}:
            yield _wrong(f"{each.name} is down", f"{each.name} is {each.state}", f"the last lines of {each.log}")
        elif each.state != "ready":
            text = f"{each.name} is {each.state} for {max(0.0, now - each.since):.0f} s"
            yield Finding(level="look", what=each.name, text=text, do=f"ask again in a minute; {each.log}")
        elif letter in CONDITIONS:
            text = f"{each.name} (process {each.pid}) is {CONDITIONS[letter]}"
            yield _wrong(
                f"{each.name} hangs", text, f"kill -CONT {each.pid}; or kill -9 {each.pid}: it is started anew"
            )
        elif not letter:
            text = f"{each.name} (process {each.pid}) is gone"
            yield _wrong(f"{each.name} is down", text, f"ask again in a minute; the last lines of {each.log} say why")
        elif each.restarts and now - each.since < LATELY_S:
            text = f"{each.name} was started again {now - each.since:.0f} s ago ({each.restarts} times in all): it "
            do = f"the lines before its last start in {each.log} say why"
            yield Finding(level="look", what=f"{each.name} restarted", text=text + (each.ended or "had ended"), do=do)


def _wrong(what: str, text: str, do: str) -> Finding:
    return Finding(level="wrong", what=what, text=text, do=do, runbook=runbook("target-down"))
