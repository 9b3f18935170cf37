"""Whatever the DAG, the engine gives what the reference executor gives, with its cache or without."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest import approx  # noqa: PT013 (short)

from serinus.execute import Executor
from serinus.routes import HeadPolicy
from serving.encoder_cache import EncoderCache
from serving.engine import Engine
from serving.plan import owners
from serving.process import Process
from tests.serving.dags import TEXT, WIDTH, Node, engine_of, write_dag

RAWS = (TEXT, "x", "y")
SOME = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ROLES = st.sampled_from(["encoder", "head", "mixer"])


@st.composite
def dags(draw: st.DrawFn) -> list[Node]:
    """1 to 7 parts, each reading any that came before; the last one, and some others, have a task."""
    nodes: list[Node] = []
    count = draw(st.integers(1, 7))
    for at in range(count):
        before = [*RAWS, *(node.name for node in nodes)]
        reads = draw(st.lists(st.sampled_from(before), min_size=1, max_size=3, unique=True))
        task = f"t{at}" if at == count - 1 or draw(st.booleans()) else ""
        nodes.append(Node(f"p{at}", tuple(reads), task, draw(ROLES), draw(st.booleans())))
    return nodes


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """Few different values, so that some meet again; some inputs have one row where others have several."""
    rows = draw(st.integers(1, 3))
    alone = draw(st.sets(st.sampled_from(RAWS), max_size=2))
    raw: dict[str, Any] = {}
    for name in RAWS:
        count = 1 if name in alone else rows
        values = draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
        raw[name] = (
            np.array([["EWR", "", "EWRJFK"][value] for value in values], object)
            if name == TEXT
            else np.repeat(np.array(values, np.float32)[:, None], WIDTH, axis=1)
        )
    return raw


def whole(raw: dict[str, Any]) -> dict[str, Any]:
    rows = max(map(len, raw.values()))
    return {name: np.repeat(array, rows, axis=0) if len(array) == 1 else array for name, array in raw.items()}


def policy(engine: Engine) -> dict[str, HeadPolicy]:
    """Budgets that a healthy head keeps, however busy this machine is."""
    return {task: HeadPolicy(budget_ms=10_000) for task in engine.manifest.task_names}


@SOME
@given(dags(), st.data())
def test_the_engine_gives_what_the_reference_gives(nodes: list[Node], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "package"
        manifest = write_dag(package, RAWS, nodes)
        engine, oracle = engine_of(package, PROCESS), Executor(package)
        for head in engine.heads.values():
            if data.draw(st.booleans()):
                head.demote()  # on another thread
        for _ in range(3):
            raw = data.draw(requests())
            asked = data.draw(st.lists(st.sampled_from(manifest.task_names), min_size=1, unique=True))
            wanted = oracle.run(whole(raw), asked)
            for found in (engine.run(raw, asked), engine.run(raw, asked, policy(engine), "e")):
                assert list(found) == asked
                for task, (values, fallback) in found.items():
                    assert (fallback, values) == ("", approx(wanted[task], abs=1e-6))


@SOME
@given(dags(), st.lists(st.tuples(requests(), st.integers(0, 100)), min_size=1, max_size=12))
def test_the_cache_changes_no_answer(nodes: list[Node], asked: list[tuple[dict[str, Any], int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "1", Path(folder) / "2"
        for seed, package in enumerate((first, second)):  # the same parts by name, other weights
            write_dag(package, RAWS, nodes, seed)
        PROCESS.cache.bound(20_000, 60_000)
        engines = [engine_of(first, PROCESS), engine_of(second, PROCESS)]
        tasks = engines[0].manifest.task_names
        for raw, number in asked:
            engine = engines[number % 2]
            some = tasks[number % len(tasks) :]
            cached, fresh = engine.run(raw, some, policy(engine)), engine.run(raw, some)
            for task, scored in cached.items():
                assert (scored.fallback, scored.values.tolist()) == ("", fresh[task].values.tolist())


def test_one_item_after_another_finds_the_users_tower(tmp_path: Path) -> None:
    heads = (Node("a", ("mix",), "click"), Node("b", ("mix",), "buy"))
    nodes = [Node("user", ("x",), cache=True), Node("mix", ("user", "y")), *heads]
    write_dag(tmp_path, RAWS[1:], nodes)
    shared = Process(cache=EncoderCache(ttl_ms=60_000))
    engine = engine_of(tmp_path, shared)
    user = np.ones((1, WIDTH), np.float32)
    for items in (1, 5, 100):
        raw = {"x": user, "y": np.random.default_rng(items).normal(size=(items, WIDTH)).astype(np.float32)}
        found = engine.run(raw, ("click",), policy(engine))["click"]
        assert found.values == approx(Executor(tmp_path).run(whole(raw))["click"], abs=1e-6)
    assert engine.run(raw, ("buy",), policy(engine))["buy"].fallback == ""  # another task of the same input
    assert (shared.cache.hits, shared.cache.misses) == (3, 1)


def test_what_only_one_task_needs_is_its_head() -> None:
    def owned(*nodes: Node) -> dict[str, str]:
        with tempfile.TemporaryDirectory() as folder:
            return owners(write_dag(Path(folder) / "p", RAWS, nodes))

    enc, mix = Node("enc", ("x",)), Node("mix", ("enc",))
    click, buy = Node("a", ("enc",), "click"), Node("b", ("mix",), "buy")
    assert owned(enc, mix, click, buy) == {"mix": "buy", "a": "click", "b": "buy"}
    esmm = Node("b", ("a", "mix"), "buy")
    assert owned(enc, mix, click, esmm) == {"mix": "buy", "a": "click", "b": "buy"}
    shared = (Node("m", ("a",)), Node("b", ("m",), "buy"), Node("c", ("m",), "keep"))
    assert owned(enc, click, *shared) == {"b": "buy", "c": "keep"}  # all need what click gives: it is trunk
    alone = (enc, Node("h", ("enc",), "buy", "head"))
    assert owned(*alone) == {"h": "buy"}  # with one task only the role tells
    for nodes in itertools.permutations((enc, click, buy, mix)):
        assert owned(*nodes) == {"mix": "buy", "a": "click", "b": "buy"}


PROCESS = Process(cache=EncoderCache(ttl_ms=60_000))
