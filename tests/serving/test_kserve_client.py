"""KServe's REST client, unchanged. Its dependencies conflict with Ray Serve's: it runs in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest import approx  # noqa: PT013 (short)

ROOT = Path(__file__).resolve().parents[2]
KSERVE = "kserve==0.21.0"


@pytest.fixture(scope="session")
def kserve(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has KServe: SERINUS_KSERVE_PYTHON, or the one of the benchmarks, or one that is made now."""
    known = Path(os.environ.get("SERINUS_KSERVE_PYTHON") or ROOT / "benchmarks/.peers/kserve/bin/python")
    if known.exists():
        return known
    folder = tmp_path_factory.mktemp("kserve")
    python = folder / "bin" / "python"
    made = subprocess.run([sys.executable, "-m", "venv", folder], check=False)
    if made.returncode or subprocess.run([python, "-m", "pip", "install", "-q", KSERVE], check=False).returncode:
        pytest.skip(f"{KSERVE} cannot be installed here")
    return python


def test_kserves_client_asks_in_json_and_in_bytes(stack: Any, tools: Any, kserve: Path) -> None:
    stack.route()
    script = Path(__file__).with_name("kserve_asks.py")
    told = subprocess.run(
        [kserve, script, stack.ready["url"]], capture_output=True, text=True, check=False, timeout=120
    )
    assert told.returncode == 0, told.stderr[-2000:]
    said = json.loads(told.stdout.splitlines()[-1])
    assert (said["live"], said["ready"], said["model"], said["id"]) == (True, True, True, "k")
    right = {
        task: approx(
            [tools.expected(1, task, "EWR", 3.0, 7.0), tools.expected(1, task, "nowhere", -4.0, 23.0)], rel=1e-4
        )
        for task in ("late", "cancelled")
    }
    assert said["binary False"] == right
    assert said["binary True"] == right
    assert "404 Not Found" in said["error"]
