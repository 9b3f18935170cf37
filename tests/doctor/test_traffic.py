"""What the doctor reads in the counts of serving."""

from __future__ import annotations

import pytest

from serinus.doctor.traffic import judge_traffic


def page(**counts: float) -> str:
    """Series by short names: `requests__stable__timeout` and the like."""
    lines = []
    for key, value in counts.items():
        kind, *labels = key.split("__")
        name, names = SERIES[kind]
        told = ",".join(f'{label}="{said}"' for label, said in zip(names, labels, strict=True))
        lines.append(f'{name}{{model="ads",{told}}} {value}')
    return "\n".join(["# TYPE serinus_requests_total counter", *lines, ""])


SERIES = {
    "requests": ("serinus_requests_total", ("arm", "result")),
    "took": ("serinus_request_duration_seconds_count", ("arm",)),
    "fast": ("serinus_request_duration_seconds_bucket", ("arm", "le")),
    "rows": ("serinus_rows_total", ("arm", "version")),
    "fallbacks": ("serinus_head_fallbacks_total", ("task", "arm", "reason")),
    "failures": ("serinus_head_failures_total", ("task", "arm", "reason")),
    "shadow": ("serinus_shadow_rows_total", ("result",)),
}


@pytest.mark.parametrize(
    ("after", "found"),
    [
        ({}, []),
        ({"requests__stable__ok": 900.0, "requests__stable__timeout": 4.0}, []),
        (
            {"requests__stable__ok": 90.0, "requests__stable__timeout": 7.0, "requests__stable__invalid": 50.0},
            [("wrong", "requests fail", "7 of 97 requests of the last 3 s failed: 7 timeout")],
        ),
        ({"requests__stable__ok": 900.0, "requests__stable__shed": 7.0}, []),
        ({"took__stable": 100.0, "fast__stable__0.1": 90.0}, []),
        (
            {"took__stable": 100.0, "fast__stable__0.1": 80.0, "fast__stable__0.25": 100.0},
            [("look", "answers are slow", "20 of 100 answers of the last 3 s took more than 100 ms: 20 stable")],
        ),
        ({"rows__stable__1": 100.0, "fallbacks__late__stable__base_rate": 5.0}, []),
        (
            {
                "rows__stable__1": 90.0,
                "rows__canary__2": 10.0,
                "fallbacks__late__stable__base_rate": 6.0,
                "fallbacks__late__canary__base_rate": 3.0,
                "failures__late__stable__overrun": 6.0,
                "failures__late__canary__breaker": 3.0,
                "failures__late__shadow__raised": 30.0,
                "fallbacks__late__canary__candidate": 30.0,
                "fallbacks__late__shadow__base_rate": 30.0,
            },
            [
                (
                    "wrong",
                    "head falls back",
                    "9 of 100 answers of late of the last 3 s are fallbacks; requests: "
                    "6 overrun in stable, 3 breaker in canary",
                )
            ],
        ),
        ({"shadow__scored": 100.0, "shadow__dropped": 9.0}, []),
        (
            {"shadow__scored": 50.0, "shadow__dropped": 9.0, "shadow__failed": 11.0},
            [("look", "shadow drops",
              "20 of 70 rows of the shadow of the last 3 s were not scored: 11 failed, 9 dropped")],
        ),
    ],
)  # fmt: skip
def test_what_grew_is_judged_by_the_bounds_of_the_alerts(
    after: dict[str, float], found: list[tuple[str, str, str]]
) -> None:
    for start in (0.0, 1e6):  # what was counted before does not matter
        before = dict.fromkeys(after, start)
        findings = judge_traffic(page(**before), page(**{key: start + value for key, value in after.items()}), 3.0)
        assert [(each.level, each.what, each.text) for each in findings] == found


def test_a_process_that_began_anew_is_not_judged_by_what_it_lost() -> None:
    assert judge_traffic(page(requests__stable__error=90.0), page(requests__stable__error=3.0), 3.0) == []
