"""The demo as a newcomer runs it, in a process of its own, judged by what it says and by its exit code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.e2e
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("defect", ["1", "0"], ids=["with the defect", "without it"])
def test_the_story_comes_true(tmp_path: Path, defect: str) -> None:
    env = {**os.environ, "SERINUS_HOME": str(tmp_path / "home"), "REPORT": str(tmp_path / "report"), "DEFECT": defect}
    command = [sys.executable, "-m", "examples.flights.demo"]
    done = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=1400, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "everything went as it should" in done.stdout
    assert " 0 requests failed" in done.stdout
    page = (tmp_path / "report" / "index.html").read_text()
    assert page.count("data:image/png") == 4, "two plots for each of two rollouts"
    rare = re.findall(r"<tr>(?:(?!</tr>).)*carrier=OO(?:(?!</tr>).)*</tr>", page)
    assert rare, "the rarest carrier, 32 flights a year, is shown"
    assert {verdict for row in rare for verdict in re.findall(r'class="(\w+)"', row)} == {"inconclusive"}
