"""The SLA: mistakes are named, and the weights of what may roll back add up to 1."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from serinus.errors import InvalidSla
from serinus.guards import FAMILIES, Guard
from serinus.sla import Sla, TaskSla, default_guards

BASE: dict[str, Any] = {
    "format": 1,
    "model": "ads",
    "tasks": {
        "click": {"label_window_s": 1800, "absent": "negative"},
        "buy": {"label_window_s": 600, "absent": "negative", "given": "click"},
    },
    "slices": {"country": ["BR", "DE"]},
}


def _sla(**changes: Any) -> Sla:
    return Sla.from_yaml(yaml.safe_dump({**BASE, **changes}))


WINDOW = {"label_window_s": 60, "absent": "negative"}
KIND = {"label_window_s": 60, "absent": "unlabelled"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"tasks": {"click": {"absent": "negative"}}}, "tasks.click.label_window_s: "),
        ({"tasks": {"click": {**WINDOW, "absent": "maybe"}}}, "tasks.click.absent: "),
        ({"tasks": {"click": {**WINDOW, "label_window_s": -1}}}, "tasks.click.label_window_s: "),
        ({"tasks": {"click": {**WINDOW, "given": "Click!"}}}, "tasks.click.given: "),
        ({"tasks": {"click": {**WINDOW, "given": "click"}}}, "tasks.click.given names 'click'"),
        ({"tasks": {"click": {**WINDOW, "given": "not buy"}}}, "tasks.click.given names 'buy'"),
        ({"tasks": {"a": {**KIND, "kind": "multiclass", "absent": "negative"}}}, "tasks.a.absent: "),
        ({"tasks": {"a": {**KIND, "kind": "multiclass", "head": {"fallback": 1}}}}, "tasks.a.head.fallback: "),
        ({"tasks": {"a": {**KIND, "kind": "regression"}, "b": {**WINDOW, "given": "a"}}},
            "tasks.b.given names 'a', which is not binary"),
        ({"tasks": {}}, "tasks: "),
        ({"tasks": {"a": WINDOW, "b": {**WINDOW, "given": "a"}, "c": {**WINDOW, "given": "b"}}}, "tasks.c.given names"),
        ({"slices": {"country": []}}, "slices.country: "),
        ({"guards": [{"task": "click", "metric": "accuracy", "margin": 0.1}]}, "guards.0.metric: "),
        ({"guards": [{"task": "click", "metric": "auc", "margin": -0.1}]}, "guards.0.margin: "),
        ({"guards": [{"task": "sale", "metric": "auc", "margin": 0.1}]}, "guards.0.task: 'sale'"),
        ({"guards": [{"task": "click", "metric": "auc", "margin": 0.1, "by": "age"}]}, "guards.0.by: 'age'"),
        ({"guards": [{"task": "click", "metric": "auc", "margin": 0.1, "role": "optional"}]}, "guards: none is"),
        ({"guards": [{"task": t, "metric": "auc", "margin": 0.1, "weight": 0.6} for t in ("click", "buy")]},
            "guards: the weights add up to 1.2"),
        ({"tick_s": 700}, "tick_s is 700"),
        ({"rollout": {"steps": [{"canary_bp": 0, "hold_s": 1}]}}, "rollout.steps.0.canary_bp: "),
        ({"rollout": {"steps": [{"canary_bp": b, "hold_s": 1} for b in (500, 100)]}}, "rollout: steps: the shares"),
        ({"rollout": {"alpha": 1}}, "rollout.alpha: "),
        ({"label_window": 3}, "label_window: "),
        ({"format": 9}, "format: "),
    ],
)  # fmt: skip
def test_a_mistake_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidSla) as error:
        _sla(**changes)
    told = [re.sub(r"^SLA(, line \d+, column \d+)?: ", "", line) for line in error.value.detail.splitlines()]
    assert any(line.startswith(field) for line in told), error.value.detail


@pytest.mark.parametrize("text", ["", "- a", "tasks: [", "model: !!python/object/apply:os.getcwd []"])
def test_what_is_no_sla_is_refused(text: str) -> None:
    with pytest.raises(InvalidSla):
        Sla.from_yaml(text)


names = st.sampled_from(["click", "buy"])
guards = st.builds(
    Guard,
    task=names,
    metric=st.sampled_from(["auc", "calibration", "failures", "log_loss"]),
    margin=st.floats(0, 1),
    by=st.sampled_from([None, "country"]),
    role=st.sampled_from(["required", "optional", "display"]),
    weight=st.none() | st.floats(0.001, 0.12),
)


@given(st.lists(guards, min_size=1, max_size=8).filter(lambda some: any(g.role == "required" for g in some)))
def test_the_weights_of_what_may_roll_back_add_up_to_one(some: list[Guard]) -> None:
    cells = _sla(guards=[guard.model_dump() for guard in some]).cells()
    assert sum(cell.weight for cell in cells) == pytest.approx(1)
    assert all(cell.weight > 0 for cell in cells if cell.role != "display")
    assert all(cell.weight == 0 for cell in cells if cell.role == "display")


def test_without_guards_there_are_defaults_whose_families_have_their_weights() -> None:
    sla = _sla()
    cells = sla.cells()
    assert len(default_guards(sla)) == 2 * 3 + 2 + 2
    assert {(cell.task, cell.slice) for cell in cells if cell.metric == "auc"} == {
        (task, where) for task in ("click", "buy") for where in ("overall", "country=BR", "country=DE")
    }
    present = [(weight, metrics) for weight, metrics in FAMILIES if any(cell.metric in metrics for cell in cells)]
    whole = sum(weight for weight, _ in present)
    for weight, metrics in present:
        assert sum(cell.weight for cell in cells if cell.metric in metrics) == pytest.approx(weight / whole)
    overall = sum(cell.weight for cell in cells if cell.metric == "auc" and cell.slice == "overall")
    assert overall == pytest.approx(0.45 / whole / 2)


def test_a_fixed_weight_is_kept_when_the_rest_can_take_the_remainder() -> None:
    guard = {"task": "click", "metric": "auc", "margin": 0.01, "weight": 0.7}
    other = {"task": "buy", "metric": "auc", "margin": 0.01, "by": "country"}
    cells = _sla(guards=[guard, other]).cells()
    assert [cell.weight for cell in cells] == pytest.approx([0.7, 0.15, 0.15])


def test_a_label_is_mature_when_that_of_the_task_it_is_given_is_too() -> None:
    sla = _sla()
    assert (sla.horizon_s("click"), sla.horizon_s("buy")) == (1800, 1800)


def test_given_may_be_negated() -> None:
    window = {"label_window_s": 1, "absent": "negative"}
    assert TaskSla(**window).given_task is None
    assert TaskSla(**window, given="click").given_task == ("click", 1)
    assert TaskSla(**window, given="not cancelled").given_task == ("cancelled", 0)
