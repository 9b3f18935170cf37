"""A model with a binary, a regression and a multiclass task, learnt from synthetic rows with a known answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from serinus.package import digest_of
from serinus.routes import PackageRef, RouteTable
from serinus.training import (
    Category,
    Dataset,
    HardSharing,
    InputSpec,
    Number,
    Target,
    Trained,
    export,
    fit,
    learn,
)
from serving.applied import Applied, apply
from serving.runtime import load

INPUTS = [
    InputSpec(name="size", datatype="FP32", nullable=True),
    InputSpec(name="country", datatype="BYTES", nullable=True),
]
TARGETS = {
    "amount": Target("regression", unit="EUR"),
    "colour": Target("multiclass", classes=("red", "green", "blue")),
}
TASKS = ("click", "amount", "colour")
SHAPES = {"click": (), "amount": (), "colour": (3,)}


def make(rows: int, seed: int) -> Dataset:
    """`amount` lies around 1,000 with a spread of 100; a third of the colours and of the amounts have no label."""
    random = np.random.default_rng(seed)
    size, country = random.normal(size=rows), random.choice(["BR", "DE", "US"], rows)
    shift = np.select([country == "BR", country == "DE"], [1.0, -1.0], 0.0)
    raw = np.stack([size, shift, -size], axis=1) * 1.5
    shares = np.exp(raw) / np.exp(raw).sum(1, keepdims=True)
    labels = {
        "click": (random.random(rows) < 1 / (1 + np.exp(-size - shift))).astype(np.float32),
        "amount": (1_000 + 80 * size + 60 * shift + 20 * random.normal(size=rows)).astype(np.float32),
        "colour": (random.random((rows, 1)) > shares.cumsum(1)[:, :2]).sum(1).astype(np.float32),
    }
    for task in ("amount", "colour"):
        labels[task][random.random(rows) < 1 / 3] = np.nan
    columns = {"size": size.astype(np.float32), "country": country.astype(object)}
    return Dataset(columns, labels, TARGETS)


@pytest.fixture(scope="session")
def validation() -> Dataset:
    return make(3_000, seed=2)


@pytest.fixture(scope="session")
def trained(validation: Dataset) -> Trained:
    train = make(6_000, seed=1)
    preprocess = learn([Number("size"), Category("country")], INPUTS, train.raw)
    model = HardSharing(hidden=(24,), embedding_dim=2, head_hidden=(8,))
    return fit(train, validation, preprocess, tasks=TASKS, model=model, epochs=5, batch_size=256, lr=1e-2)


@pytest.fixture(scope="session")
def package(trained: Trained, validation: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinds") / "package"
    export(trained, folder, validation=validation)
    return folder


@pytest.fixture
def applied(package: Path) -> Applied:
    return applied_of(package)


def applied_of(package: Path) -> Applied:
    """Version 1 alone, as a front door holds it; heads have all the time they want."""
    reference = PackageRef(digest=digest_of(package), uri=package.as_uri())
    table = RouteTable(
        model="m",
        epoch=1,
        stable=dict.fromkeys(TASKS, 1),
        packages={1: reference},
        heads={task: {"fallback": "last_known_good", "budget_ms": 5_000} for task in TASKS},  # type: ignore[misc]
    )
    return apply(table, {reference.digest: load(reference)})
