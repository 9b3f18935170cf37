"""What is said of YAML that is wrong: where, what, and what was expected."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from serinus.errors import BadInput, InvalidSla
from serinus.rollouts import Plan
from serinus.sla import Sla
from serinus.yaml_files import MAX_YAML_BYTES, read_yaml

GOOD = """\
model: ads
tasks:
  click:
    label_window_s: 60
    absent: negative
guards:
  - {task: click, metric: auc, margin: 0.1}
rollout: {steps: [{canary_bp: 100, hold_s: 60}]}
"""


def wrong(old: str, new: str) -> str:
    with pytest.raises(InvalidSla) as error:
        read_yaml(Sla, GOOD.replace(old, new), "sla.yaml", InvalidSla)
    return error.value.detail


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("absent:", "absnt:", "sla.yaml, line 5, column 5: tasks.click.absnt: unknown "
         "field 'absnt'; did you mean 'absent'?"),
        ("absent: negative", "absent: negativ", "sla.yaml, line 5, column 13: tasks.click.absent: expected "
         "'negative' or 'unlabelled', found 'negativ'; did you mean 'negative'?"),
        ("label_window_s: 60", "label_window_s: soon", "sla.yaml, line 4, column 21: tasks.click.label_window_s: input "
         "should be a valid integer, unable to parse string as an integer, found 'soon'"),
        ("    absent: negative\n", "", "sla.yaml, line 4, column 5: tasks.click.absent: missing, it is required"),
        ("task: click", "task: clik", "sla.yaml, line 7, column 12: guards.0.task: 'clik' is not one of ['click']"),
        ("hold_s: 60", "hold: 60", "sla.yaml, line 8, column 36: rollout.steps.0.hold: "
         "unknown field 'hold'; did you mean 'hold_s'?"),
        ("model: ads", "model: ads\nmodel: ad", "sla.yaml, line 2, column 1: model is there twice"),
        ("tasks:\n", "tasks: {\n", "sla.yaml, line 4, column 19: this is not YAML: "),
        ("model: ads", "model: 2013-99-99", "sla.yaml: this is not YAML: "),
    ],
)  # fmt: skip
def test_it_says_file_line_column_field_and_what_was_expected(old: str, new: str, said: str) -> None:
    assert any(line.startswith(said) for line in wrong(old, new).splitlines()), wrong(old, new)


def test_several_mistakes_are_told_at_once_and_not_more_than_one_can_read() -> None:
    tasks = ", ".join(f"t{n}: {{label_window_s: -1, absent: negative}}" for n in range(9))
    text = f"model: ads\ntasks: {{{tasks}}}"
    with pytest.raises(BadInput) as error:
        read_yaml(Sla, text, "x")
    lines = error.value.detail.splitlines()
    assert len(lines) == 6
    assert lines[-1] == "and 4 more"


@pytest.mark.parametrize("text", ["", "3", "- 1", "[" * 5000, "a: &x [*x]", "x: !!python/name:os.system", "\0"])
def test_what_is_no_such_document_is_an_error_too(text: str) -> None:
    with pytest.raises(BadInput):
        read_yaml(Plan, text, "plan.yaml") if text else read_yaml(Sla, text, "sla.yaml")


def test_a_document_that_grows_when_it_is_read_is_refused_soon() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    with pytest.raises(BadInput, match="unknown field 'a0'"):
        read_yaml(Plan, "\n".join(lines), "plan.yaml")
    with pytest.raises(BadInput, match="is larger"):
        read_yaml(Plan, "#" * (MAX_YAML_BYTES + 1), "plan.yaml")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*Plan.model_fields, "x"]), inner),
    max_leaves=8,
)


@given(plain)
def test_whatever_is_in_it_a_mistake_is_named_or_there_is_none(value: Any) -> None:
    text = yaml.safe_dump(value)
    try:
        assert read_yaml(Plan, text, "plan.yaml") == Plan.model_validate(value)
    except BadInput as error:
        assert error.detail.startswith("plan.yaml")  # noqa: PT017  (it may also be right)
