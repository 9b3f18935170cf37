"""The SLA of the flights, the three versions, and the backtest's reading of the labels."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from examples.flights import backtest, models
from examples.flights.backtest import Year
from examples.flights.data import Tables
from examples.flights.features import NULLABLE, NUMBERS, TEXTS
from examples.flights.labels import TASKS
from examples.flights.models import LOST_ORIGIN, TRAIN_END_MS, Flights
from serinus.execute import Executor
from serinus.inspect import inspect_package
from serinus.sla import Sla
from serinus.training import quality

SLA_FILE = Path(models.__file__).parent / "sla.yaml"


@pytest.fixture(scope="module")
def sla() -> Sla:
    return Sla.from_yaml(SLA_FILE.read_text())


@pytest.fixture(scope="module")
def year(sla: Sla) -> Year:
    return Year.of(sla)


@pytest.fixture(scope="module")
def flights(tables: Tables) -> Flights:
    """Every eighth flight."""
    whole = models.prepare(tables)
    chosen = np.arange(0, len(whole.rows), 8)
    return Flights(whole.rows.take(chosen), whole.event_ms[chosen])


@pytest.fixture(scope="module")
def packages(flights: Flights, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return backtest.packages(flights, tmp_path_factory.mktemp("packages"))


def test_the_sla_is_valid_and_its_deciding_weights_add_up_to_one(sla: Sla) -> None:
    assert set(sla.tasks) == set(TASKS)
    cells = sla.cells()
    assert sum(cell.weight for cell in cells) == pytest.approx(1)
    assert {cell.task for cell in cells if cell.role == "required"} == {"dep_late", "arr_late", "cancelled"}
    assert all(cell.weight == 0 for cell in cells if cell.task == "diverted" or cell.slice.startswith("carrier="))
    assert sla.rollout.shadow_bp == 10_000


def test_the_slices_are_all_there_are(sla: Sla, tables: Tables) -> None:
    for name, values in sla.slices.items():
        assert sorted(values) == sorted(tables.flights[name].unique().to_list())
        assert name in TEXTS


def test_a_client_sends_the_same_raw_inputs_to_every_version(packages: dict[str, Path]) -> None:
    for folder in packages.values():
        manifest = inspect_package(folder)
        assert [spec.name for spec in manifest.inputs] == [*TEXTS, *NUMBERS]
        assert manifest.task_names == TASKS
        assert {spec.name for spec in manifest.inputs if spec.nullable} == set(NULLABLE)


def test_a_package_answers_rows_with_gaps_and_an_airport_it_never_saw(
    packages: dict[str, Path], flights: Flights
) -> None:
    raw = {name: column[:50].copy() for name, column in flights.rows.raw.items()}
    for name in NULLABLE:
        raw[name][:] = np.nan
    raw["dest"][0] = "XXX"
    for folder in packages.values():
        for task, found in Executor(folder).run(raw).items():
            assert found.shape == (50,), task
            assert ((found > 0) & (found < 1)).all()


def test_the_defect_touches_one_origin_and_nothing_else(packages: dict[str, Path], flights: Flights) -> None:
    rows = flights.between(TRAIN_END_MS, 1 << 62)
    broken, meant = (models.scores(packages[name], rows) for name in ("3", "3 without defect"))
    there = rows.raw["origin"] == LOST_ORIGIN
    for task in TASKS:
        assert (broken[task][~there] == meant[task][~there]).all()
    assert np.abs(broken["dep_late"] - meant["dep_late"])[there].mean() > 0.02


def test_local_time_worked_out_from_utc_is_local_time(flights: Flights) -> None:
    raw = flights.rows.raw
    offset = np.array([models.UTC_OFFSET_MINUTES[origin] for origin in raw["origin"]])
    assert ((raw["minute_utc"] + offset + 60 * raw["is_dst"]) % 1440 == raw["minute_local"]).all()


def test_each_version_is_better_than_the_one_before_and_the_defect_is_not(
    packages: dict[str, Path], flights: Flights
) -> None:
    rows = flights.between(TRAIN_END_MS, 1 << 62)

    def auc(name: str) -> float:
        value = quality(rows.labels["dep_late"], models.scores(packages[name], rows)["dep_late"]).auc
        assert value is not None
        return value

    assert auc("1") + 0.02 < auc("2")
    assert auc("3") < auc("2") < auc("3 without defect") + 0.005
    table = models.held_out_table(flights, list(packages.values())[:2], datetime(2013, 6, 1, tzinfo=UTC))
    assert f"version 2, from {LOST_ORIGIN}" in table


def test_the_same_seed_trains_the_same_package(flights: Flights, packages: dict[str, Path], tmp_path: Path) -> None:
    again = models.train(1, flights, tmp_path / "1")
    rows = flights.between(TRAIN_END_MS, 1 << 62)
    one, two = (models.scores(folder, rows)["arr_late"] for folder in (packages["1"], again))
    assert (one == two).all()


def test_every_mature_row_enters_the_backtest_once(sla: Sla, year: Year) -> None:
    start = TRAIN_END_MS + 1_234_567
    end = start + 5 * 86_400_000
    zeros = {task: np.zeros(len(year.event_ms), np.float32) for task in TASKS}
    seen = dict.fromkeys(TASKS, 0)
    last = start
    for tick in backtest.ticks(year, sla, (zeros, zeros), start, end):
        last = tick.tick_ms
        for (_, task), (a, b) in tick.streams.items():
            assert (a.event_ms <= tick.tick_ms - sla.horizon_s(task) * 1000).all()
            assert len(a) == len(b)
            seen[task] += len(a)
    for task in TASKS:
        inside = (year.event_ms >= start) & (year.event_ms < last - sla.horizon_s(task) * 1000)
        assert seen[task] == np.count_nonzero(inside & ~np.isnan(year.mature(sla, task)))


def test_absent_labels_count_as_the_sla_says(sla: Sla, year: Year) -> None:
    cancelled = year.labels["cancelled"] == 1
    assert (year.mature(sla, "cancelled") == cancelled).all()
    assert np.isnan(year.mature(sla, "dep_late")[cancelled]).all()
    assert np.isnan(year.mature(sla, "diverted")[cancelled]).all()
    assert not np.isnan(year.mature(sla, "diverted")[~cancelled]).any()
