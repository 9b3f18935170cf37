"""`make demo`: the whole loop on real flights, from training to a promotion and a rollback.

Environment: START (first day of the replay, default 2013-04-01), DEFECT=0 (version 3 without its defect), KEEP=1 (leave
everything running), SERINUS_HOME (state of the local stack), REPORT (folder of the report).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from examples.flights import data, models
from examples.flights.director import Act, Director, Timeline
from examples.flights.ending import Terminated, finished, stoppable
from examples.flights.hours import hours
from examples.flights.replay import Hour, Replay, Tally
from examples.flights.report import write_report
from examples.flights.story import carriers_of_the_verdict, describe, judge
from serinus.client import Client
from serinus.home import Home, Stack
from serinus.rollouts import ENDS, Phase, RolloutView
from serinus.sla import Sla

MODEL = "flights"
MARK = ".demo"
SLA_FILE = Path(__file__).with_name("sla.yaml")
REASONS = {
    2: "it also knows the delays of the last hours",
    3: "it also knows the weather, and works out local times itself",
}


@dataclass(frozen=True)
class Wishes:
    """What the environment asks for."""

    start: datetime
    defect: bool
    keep: bool
    home: Path
    report: Path

    @classmethod
    def of(cls, env: dict[str, str]) -> Wishes:
        try:
            start = datetime.fromisoformat(env.get("START") or "2013-04-01").replace(tzinfo=UTC)
        except ValueError as error:
            raise SystemExit(f"START is {env['START']!r}, not a day like 2013-07-01") from error
        if not datetime(2013, 4, 1, tzinfo=UTC) <= start <= datetime(2013, 11, 1, tzinfo=UTC):
            raise SystemExit("START must lie from 2013-04-01 (the models train on January to March) to 2013-11-01")
        home = Path(env.get("SERINUS_HOME") or ".serinus-demo").absolute()
        report = Path(env.get("REPORT") or "report").absolute()
        return cls(start, env.get("DEFECT", "1") != "0", env.get("KEEP", "0") == "1", home, report)


@contextmanager
def timed(timeline: Timeline, doing: str, done: str) -> Iterator[None]:
    began = time.monotonic()
    with timeline.console.status(f"{doing} ..."):
        yield
    timeline.say(f"{done} ({time.monotonic() - began:.1f} s)")


def serinus(home: Path, *words: str) -> None:
    """Run the command line, as a person would. Ends the demo when it fails, for it has said why."""
    if finished([sys.executable, "-m", "serinus.cli", *words, "--home", str(home)]) != 0:
        raise SystemExit(f"`serinus {words[0]}` failed; the logs are in {home / 'logs'}")


def fresh(home: Path) -> Path:
    """An empty state folder: what an earlier demo left is removed, what anybody else keeps is not."""
    mark = home / MARK
    if home.exists() and any(home.iterdir()):
        if not mark.exists():
            raise SystemExit(
                f"{home} is not from an earlier demo: choose another SERINUS_HOME, its content would be lost"
            )
        if (home / "stack.json").exists():
            serinus(home, "down")
        shutil.rmtree(home)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    mark.write_text("made by the demo, which may remove this folder\n")
    return home


def local_stack(home: Path) -> Stack:
    """Where the stack of `home` answers."""
    stack = Home(home).stack()
    if stack is None:
        raise SystemExit(f"the stack in {home} is not up; its logs are in {home / 'logs'}")
    return stack


def play(wishes: Wishes, client: Client, acts: Sequence[Act], timeline: Timeline) -> tuple[Tally, list[RolloutView]]:
    """Replay the flights until both rollouts have ended, or the year has."""
    sla = Sla.from_yaml(SLA_FILE.read_text())
    stack = local_stack(wishes.home)
    replay = Replay(stack.serving, MODEL, Path(stack.replay_token_file).read_text().strip())
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=timeline.console, transient=True) as progress:
        bar = progress.add_task("reading the flights", total=None)

        def watch(hour: Hour, rollout: RolloutView | None) -> None:
            where = "version 1 alone" if rollout is None else f"version {rollout.candidate}: {rollout.phase.value}"
            sent, failed = replay.tally.sent, replay.tally.failed
            day = datetime.fromtimestamp(hour.start_ms / 1000, UTC)
            progress.update(bar, description=f"{day:%d %b %H:00}  {where:24}  {sent:,} requests, {failed} failed")

        director = Director(client, MODEL, acts, timeline, watch)
        tally = asyncio.run(replay.run(hours(data.load(), wishes.start, sla), director.gate))
    return tally, [client.rollout(rollout) for rollout in director.rollouts]


def tell_end(client: Client, view: RolloutView, timeline: Timeline) -> None:
    """The end of a rollout, with the guards that carried it."""
    look = client.evidence_latest(view.id)
    timeline.say(f"version {view.candidate} against {view.baseline}: {view.phase.value}", style="bold")
    if look is None:
        return
    timeline.say(f"  E = {look.e:.3g} (roll back at {look.limit:g}), {len(look.culprits)} guards named")
    if view.phase == Phase.ROLLED_BACK:
        for line in describe(carriers_of_the_verdict(look), look):
            timeline.say(f"  {line}")
    elif view.phase not in ENDS:
        timeline.say(f"  waiting for: {view.waiting_for}")


def main() -> int:
    """0: the story came true; 1: it did not; 130, 143: stopped by Ctrl-C, by SIGTERM."""
    wishes, timeline = Wishes.of(dict(os.environ)), Timeline(Console())
    packages = fresh(wishes.home) / "trained"
    with stoppable():
        return _told(wishes, packages, timeline)


def _told(wishes: Wishes, packages: Path, timeline: Timeline) -> int:
    try:
        return _story(wishes, packages, timeline)
    except Terminated:
        timeline.say("stopped by SIGTERM")
        return 143
    except KeyboardInterrupt:
        timeline.say("stopped by Ctrl-C")
        return 130
    finally:
        if wishes.keep:
            timeline.say(f"still running: `.venv/bin/serinus status --home {wishes.home}` says what is where")
            timeline.say(f"               `.venv/bin/serinus down --home {wishes.home}` stops it")
        elif (wishes.home / "lock").exists():
            serinus(wishes.home, "down")


def _story(wishes: Wishes, packages: Path, timeline: Timeline) -> int:
    with timed(timeline, "reading the flights", "read 336,776 flights of 2013 and made their features"):
        flights = models.prepare(data.load())
    with timed(
        timeline, "training version 1", "trained version 1 on January to March: schedule, carrier, route, calendar"
    ):
        folders = [models.train(1, flights, packages / "1")]
    with timed(
        timeline, "starting the local stack", "started the local stack: controller, serving on Ray Serve, monitor"
    ):
        serinus(wishes.home, "up", "--controller-port", "0", "--serving-port", "0", "--front-doors", "1")
    with Client(home=wishes.home) as client:
        with timed(timeline, "registering version 1", "registered version 1; it is stable"):
            client.apply(Sla.from_yaml(SLA_FILE.read_text()))
            first = client.push(MODEL, folders[0]).version
            client.promote(MODEL, first, reason="the first version", initial=True)
        for number in (2, 3):
            with timed(timeline, f"training version {number}", f"trained version {number}: {REASONS[number]}"):
                folders.append(models.train(number, flights, packages / str(number), defect=wishes.defect))
        timeline.say(models.held_out_table(flights, folders, wishes.start))
        pushed = [client.push(MODEL, folder).version for folder in folders[1:]]
        acts = [Act(version, REASONS[number]) for version, number in zip(pushed, (2, 3), strict=True)]
        began = time.monotonic()
        tally, rollouts = play(wishes, client, acts, timeline)
        took = time.monotonic() - began
        timeline.say(
            f"replayed {tally.sent:,} flights in {took:.0f} s, {tally.failed} requests failed; {tally.labels:,} labels"
        )
        for error in tally.errors:
            timeline.say(f"  {error}", style="red")
        for view in rollouts:
            tell_end(client, view, timeline)
        with timed(timeline, "writing the report", f"wrote {wishes.report / 'index.html'}"):
            pages = [(view, client.evidence(view.id)) for view in rollouts]
            write_report(wishes.report / "index.html", "\n".join(timeline.lines), pages)
        good, bad = (*rollouts, None, None)[:2]
        faults = judge(good, bad, tally.failed, tally.refused, wishes.defect)
    for fault in faults:
        timeline.say(f"not as it should be: {fault}", style="bold red")
    timeline.say("not the story that was promised" if faults else "everything went as it should", style="bold")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
