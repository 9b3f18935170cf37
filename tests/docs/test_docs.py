"""What the docs say is so: their code runs, their links lead somewhere, their numbers are the code's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from serinus.client import Client
from serinus.guards import Metric
from serinus.rollouts import Phase
from serinus.sla import Sla, TaskSla

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted([REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *(REPOSITORY / "docs").rglob("*.md")])


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target


def test_every_block_of_code_is_one_that_a_test_runs() -> None:
    found = {page.name: blocks(page, "bash") + blocks(page, "python") for page in PAGES}
    assert {name for name, code in found.items() if code} == {"README.md"}
    assert len(found["README.md"]) == 2


def test_the_readme_shows_the_quickstart_as_it_is() -> None:
    (shown,) = blocks(REPOSITORY / "README.md", "python")
    assert shown == (REPOSITORY / "examples" / "quickstart.py").read_text()


def test_every_sla_in_the_docs_is_one() -> None:
    found = [block for page in PAGES for block in blocks(page, "yaml") if "\nmodel:" in block]
    assert found
    for block in found:
        sla = Sla.from_yaml(block)
        assert sla.cells()


def test_every_metric_and_word_of_a_task_is_explained() -> None:
    page = (REPOSITORY / "docs" / "sla.md").read_text()
    words = {*get_args(Metric), *TaskSla.model_fields} - {"kind", "head"}
    assert {word for word in words if f"`{word}`" not in page} == set()


@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_the_quickstart_ends_with_a_promotion(tmp_path: Path) -> None:
    (code,) = blocks(REPOSITORY / "README.md", "bash")
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    home = tmp_path / "home"
    env = {**os.environ, "SERINUS_HOME": str(home), "COLUMNS": "120"}
    *before, down = code.rstrip().splitlines()
    assert down == "serinus down"
    try:
        command = ["bash", "-ec", "\n".join(before)]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=800, check=False)
        print(done.stdout)
        assert done.returncode == 0, done.stdout + done.stderr
        with Client(home=home) as client:
            (rollout,) = client.rollouts("ads")
            assert rollout.phase == Phase.DONE
            assert client.model("ads").aliases == {"stable": 2, "previous": 1}
    finally:
        subprocess.run(["bash", "-ec", f"{before[0]}\n{down}"], cwd=tmp_path, env=env, timeout=120, check=False)
    assert not (home / "stack.json").exists()
