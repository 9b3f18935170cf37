"""docs/metrics.md has the metrics as they are declared."""

from __future__ import annotations

from pathlib import Path

from serinus.metrics import ALL
from serinus.metrics_page import table

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_page_has_every_metric_as_it_is() -> None:
    assert PAGE.read_text().endswith(table()), "run `python -m serinus.metrics_page` and put it at the end of the page"
    assert len({each.name for each in ALL}) == len(ALL)


def test_names_are_as_prometheus_wants_them() -> None:
    for each in ALL:
        assert each.name.startswith("serinus_")
        assert each.name.endswith("_total") == (each.kind == "counter"), each.name
        assert each.kind != "histogram" or (
            each.name.endswith("_seconds") and each.buckets == tuple(sorted(each.buckets))
        )
