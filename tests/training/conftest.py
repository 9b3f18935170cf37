"""Synthetic tasks with a known answer, small enough to be learnt in a second."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from serinus.training import (
    Category,
    Cyclic,
    Dataset,
    HardSharing,
    InputSpec,
    Number,
    Preprocess,
    Trained,
    fit,
    learn,
)

INPUTS = [
    InputSpec(name="price", datatype="FP32", nullable=True),
    InputSpec(name="minute", datatype="FP32"),
    InputSpec(name="country", datatype="BYTES", nullable=True),
    InputSpec(name="unused", datatype="INT64"),
]
FEATURES = [Number("price", log=True), Cyclic("minute", period=1440), Category("country")]


def make(rows: int, seed: int) -> Dataset:
    """`click` and `buy` rest on the same inputs with other signs; a price is missing now and then."""
    random = np.random.default_rng(seed)
    price = random.lognormal(3, 1, rows)
    minute = random.integers(0, 1440, rows)
    country = random.choice(["BR", "DE", "US"], rows)
    shared = 1.5 * (country == "BR") + np.sin(minute / 1440 * 2 * np.pi) - 0.5
    logits = {"click": shared - (np.log(price) - 3), "buy": (np.log(price) - 3) - shared}
    labels = {t: (random.random(rows) < 1 / (1 + np.exp(-2 * z))).astype(np.float32) for t, z in logits.items()}
    gaps = random.random(rows) < 0.1
    raw = {
        "price": np.where(gaps, np.nan, price).astype(np.float32),
        "minute": minute.astype(np.float32),
        "country": country.astype(object),
        "unused": np.arange(rows),
    }
    return Dataset(raw, labels)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def train() -> Dataset:
    return make(8_000, seed=1)


@pytest.fixture(scope="session")
def validation() -> Dataset:
    return make(4_000, seed=2)


@pytest.fixture(scope="session")
def preprocess(train: Dataset) -> Preprocess:
    return learn(FEATURES, INPUTS, train.raw)


@pytest.fixture(scope="session")
def trained(train: Dataset, validation: Dataset, preprocess: Preprocess) -> Trained:
    return fit(
        train,
        validation,
        preprocess,
        tasks=["click", "buy"],
        model=HardSharing(hidden=(32, 32), embedding_dim=4),
        epochs=3,
        batch_size=256,
        lr=5e-3,
    )
