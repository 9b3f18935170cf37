"""A head that takes too long, raises or gives no probability is stood in for, and harms no other; real graphs."""

from __future__ import annotations

import pickle
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest import approx  # noqa: PT013 (short)

from serinus.execute import Executor
from serinus.routes import HeadPolicy, PackageRef, RouteTable
from serving.applied import apply, run
from serving.engine import Engine
from serving.head import THREADS_EACH
from serving.process import Process
from serving.workers import Workers
from tests.serving.dags import Node, engine_of, write_dag

NODES = (
    Node("enc", ("x",)),
    Node("a", ("enc",), "click", "head"),
    Node("b", ("x", "enc"), "buy", "head", odd="sound"),
    Node("c", ("b", "enc"), "keep", "head"),
)
ASKED = ("click", "buy", "keep")
ROOMY = {task: HeadPolicy(budget_ms=1_000) for task in ASKED}
"""This machine may be busy: what is to be healthy gets time."""
TIGHT = ROOMY | {"buy": HeadPolicy(budget_ms=20)}


def inputs(value: float = 1.0, rows: int = 1) -> dict[str, Any]:
    return {"x": np.full((rows, 4), value, np.float32)}


def make(tmp_path: Path, odd: str, **shared: Any) -> Engine:
    nodes = [Node(n.name, n.reads, n.task, n.role, n.cache, odd if n.odd else "") for n in NODES]
    write_dag(tmp_path / "package", ["x"], nodes)
    return engine_of(tmp_path / "package", Process(**shared))


def heal(engine: Engine, within_s: float = 20.0) -> None:
    until = time.monotonic() + within_s
    while engine.run(inputs(), ASKED, ROOMY)["buy"].fallback:
        assert time.monotonic() < until, engine.status()
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("odd", "value", "reasons"),
    [
        ("loop", 160.0, {"overrun"}),
        ("long", 4_000.0, {"overrun", "busy"}),
        ("nan", 105.0, {"invalid"}),
        ("beyond", 105.0, {"invalid"}),
        ("shape", 105.0, {"invalid"}),
        ("raises", 105.0, {"raised", "overrun"}),
    ],
)
def test_a_bad_head_is_stood_in_for_and_harms_no_other(
    tmp_path: Path, odd: str, value: float, reasons: set[str]
) -> None:
    engine = make(tmp_path, odd)
    before = threading.active_count()
    wanted = Executor(tmp_path / "package").run(inputs(value), ("click",))
    head, asked = engine.heads["buy"], 0
    while not head.fallbacks["breaker"]:
        asked += 1
        assert asked < 60  # on a machine that has no time for it, a late run counts a fifth
        found = engine.run(inputs(value), ASKED, TIGHT)
        assert (found["click"].fallback, found["click"].values) == ("", approx(wanted["click"], abs=1e-6))
        assert found["buy"].fallback == "base_rate"
        assert found["buy"].values.tolist() == [0.25]
        assert found["keep"].fallback == "base_rate"  # it reads what buy gives
        assert threading.active_count() <= before + THREADS_EACH
    assert reasons & set(head.fallbacks)
    assert set(head.fallbacks) <= reasons | {"breaker", "overrun", "busy"}  # the machine may be busy
    assert engine.heads["keep"].fallbacks == {"upstream": asked}
    assert head.breaker.state == "open"
    heal(engine)
    found = engine.run(inputs(), ASKED, ROOMY)
    assert {scored.fallback for scored in found.values()} == {""}
    assert engine.heads["keep"].breaker.opened == 0


def test_a_hung_head_costs_its_budget_and_not_more(tmp_path: Path) -> None:
    engine = make(tmp_path, "loop")
    began = time.perf_counter()
    assert engine.run(inputs(10_000.0), ASKED, TIGHT)["buy"].fallback == "base_rate"  # some minutes of loops
    assert time.perf_counter() - began < 5.0
    began = time.perf_counter()
    assert engine.run(inputs(10_000.0), ASKED, TIGHT)["buy"].fallback == "base_rate"  # now on another thread
    assert time.perf_counter() - began < 5.0
    assert engine.heads["buy"].abandoned == 1
    until = time.monotonic() + 20
    while engine.heads["buy"].running:  # it was told to end
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_head_that_is_slow_from_the_start_runs_beside_the_others(tmp_path: Path) -> None:
    engine = make(tmp_path, "")
    for name in ASKED:
        engine.heads[name].measured(10**12, 10**12, 32)
    found = engine.run(inputs(rows=3), ASKED, ROOMY)
    wanted = Executor(tmp_path / "package").run(inputs(rows=3))
    for task, scored in found.items():
        assert (scored.fallback, scored.values) == ("", approx(wanted[task], abs=1e-6))
    assert engine.status()["buy"]["running"] == 0


def test_where_no_thread_is_free_the_fallback_answers_at_once(tmp_path: Path) -> None:
    engine = make(tmp_path, "", workers=Workers(max_threads=0))
    engine.heads["buy"].demote()
    found = engine.run(inputs(), ASKED, ROOMY)
    assert [found[task].fallback for task in ASKED] == ["", "base_rate", "base_rate"]
    assert engine.heads["buy"].fallbacks == {"busy": 1}


def test_a_head_that_was_quick_often_enough_needs_no_thread_again(tmp_path: Path) -> None:
    engine = make(tmp_path, "")
    head = engine.heads["buy"]
    head.demote()
    assert not head.inline(1, 10**9)
    for _ in range(100):
        head.was_quick(1, 1_000, 10**9)
    assert head.inline(1, 10**9)
    head.demote()
    for _ in range(100):
        head.was_quick(1, 1_000, 10**9)
    assert not head.inline(1, 10**9)  # the second time takes twice as long


def test_what_stands_in_is_what_the_policy_says(tmp_path: Path) -> None:
    engine = make(tmp_path, "nan")
    last = {"buy": HeadPolicy(budget_ms=1_000, fallback="last_known_good")}
    good = engine.run(inputs(), ("buy",), last, "ann")["buy"]
    assert good.fallback == ""
    found = {name: engine.run(inputs(105.0), ("buy",), last, name)["buy"] for name in ("ann", "bob", "")}
    assert {name: scored.fallback for name, scored in found.items()} == {
        "ann": "last_known_good",
        "bob": "base_rate",
        "": "base_rate",
    }
    assert found["ann"].values.tolist() == good.values.tolist()
    many = engine.run(inputs(105.0, rows=3), ("buy",), last, "ann")["buy"]
    assert (many.fallback, many.values.tolist()) == ("base_rate", [0.25] * 3)
    constant = engine.run(inputs(105.0), ("buy",), {"buy": HeadPolicy(fallback=0.5)})["buy"]
    assert (constant.fallback, constant.values.tolist()) == ("constant", [0.5])


def test_past_its_deadline_everything_falls_back(tmp_path: Path) -> None:
    engine = make(tmp_path, "")
    found = engine.run(inputs(), ASKED, ROOMY, "", time.perf_counter_ns() - 1)
    assert {scored.fallback for scored in found.values()} == {"base_rate"}
    with pytest.raises(TimeoutError):
        engine.run(inputs(), ASKED, ROOMY, "", time.perf_counter_ns() - 1, trunk_must_run=True)
    assert {head.breaker.opened for head in engine.heads.values()} == {0}


def test_the_deadline_shortens_a_budget_and_blames_nobody(tmp_path: Path) -> None:
    engine = make(tmp_path, "loop")
    for _ in range(8):
        deadline = time.perf_counter_ns() + 30_000_000
        assert engine.run(inputs(10_000.0), ASKED, ROOMY, "", deadline)["buy"].fallback == "base_rate"
    assert set(engine.heads["buy"].fallbacks) <= {"deadline", "trunk"}
    assert engine.heads["buy"].breaker.state == "closed"


def test_a_trunk_that_raises_is_stood_in_for_unless_somebody_else_can_answer(tmp_path: Path) -> None:
    bad = Node("enc", ("x",), "like", odd="raises")
    write_dag(tmp_path, ["x"], [bad, Node("m", ("enc",)), Node("b", ("m",), "buy"), Node("c", ("m",), "keep")])
    engine = engine_of(tmp_path)
    found = engine.run(inputs(105.0), ("buy", "keep"), {})
    assert [scored.fallback for scored in found.values()] == ["base_rate"] * 2
    assert engine.heads["buy"].fallbacks == {"trunk": 1}
    for strict in ({"policy": None}, {"policy": {}, "trunk_must_run": True}):
        with pytest.raises(Exception, match="out of data bounds"):
            engine.run(inputs(105.0), ("buy", "keep"), **strict)  # type: ignore[arg-type]


def test_without_a_policy_whatever_goes_wrong_is_raised(tmp_path: Path) -> None:
    engine = make(tmp_path, "nan")
    with pytest.raises(ValueError, match="no probabilities"):
        engine.run(inputs(105.0), ("buy",))
    assert engine.run(inputs(105.0), ("click",))["click"].fallback == ""


def test_threads_that_call_at_once_take_turns(tmp_path: Path) -> None:
    engine = make(tmp_path, "")
    wanted = {value: engine.run(inputs(value), ("keep",))["keep"].values.item() for value in (0.1, 0.2, 0.3)}
    wrong: list[object] = []

    def ask(value: float) -> None:
        for _ in range(100):
            scored = engine.run(inputs(value), ("keep",), ROOMY)["keep"]
            if scored.fallback or scored.values.item() != wanted[value]:
                wrong.append((value, scored))

    threads = [threading.Thread(target=ask, args=(value,)) for value in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


def test_an_answer_says_what_stood_in_by_the_tables_policy_wherever_it_is_computed(tmp_path: Path) -> None:
    engine = make(tmp_path, "nan")
    ref = PackageRef(digest=engine.digest, uri=(tmp_path / "package").as_uri())
    heads = {"buy": HeadPolicy(budget_ms=1_000, fallback=0.125), "click": HeadPolicy(budget_ms=1_000)}
    table = RouteTable(model="m", epoch=1, stable=dict.fromkeys(ASKED[:2], 1), packages={1: ref}, heads=heads)
    applied = apply(table, {engine.digest: engine})
    groups = applied.groups("stable", ())
    sent = pickle.loads(pickle.dumps(groups))  # as to the candidate's and the shadow's process
    for outputs in (applied.run(inputs(105.0), groups), run(applied.engines, inputs(105.0), sent)):
        assert [(output.task, output.fallback) for output in outputs] == [("click", ""), ("buy", "constant")]
        assert outputs[1].values.tolist() == [0.125]
    assert applied.heads()["1"]["buy"]["fallbacks"] == {"invalid": 2}
