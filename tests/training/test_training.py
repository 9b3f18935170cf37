"""Learning: every architecture and scalarizer on data with a known answer; masks; a rate per task; the best epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score

from serinus.training import (
    Architecture,
    Dataset,
    Epoch,
    FixedWeights,
    HardSharing,
    MMoE,
    Preprocess,
    Scalarizer,
    Trained,
    UncertaintyWeights,
    auc,
    batches,
    fit,
    quality,
)
from serinus.training.scalarizers import masked_losses

SMALL = HardSharing(hidden=(16,), embedding_dim=2, head_hidden=(8,))
MODELS = [SMALL, HardSharing(hidden=(32,), head_hidden=(), dropout=0.1), MMoE(experts=3, hidden=(16,), embedding_dim=4)]


@pytest.mark.parametrize("model", MODELS, ids=["hard sharing", "dropout", "mmoe"])
@pytest.mark.parametrize("scalarizer", [FixedWeights({"buy": 2.0}), UncertaintyWeights()], ids=["fixed", "uncertainty"])
def test_both_tasks_are_learnt(
    train: Dataset, validation: Dataset, preprocess: Preprocess, model: Architecture, scalarizer: Scalarizer
) -> None:
    trained = fit(
        train, validation, preprocess,
        tasks=["click", "buy"], model=model, scalarizer=scalarizer, epochs=4, batch_size=256, lr=5e-3,
    )  # fmt: skip
    for task in ("click", "buy"):
        found = trained.best.validation[task]
        assert found.auc is not None
        assert found.auc > 0.85  # 0.9 is what the truth itself reaches
        assert found.calibration == pytest.approx(1, abs=0.1)
        assert found.log_loss is not None
        assert found.reference is not None
        assert found.log_loss < 0.8 * found.reference


def test_the_same_seed_gives_the_same_weights_and_leaves_torch_s_own_alone(
    train: Dataset, validation: Dataset, preprocess: Preprocess
) -> None:
    some = train.take(slice(0, 1_000))

    def weights(seed: int) -> torch.Tensor:
        found = fit(some, validation, preprocess, tasks=["click"], model=SMALL, epochs=1, seed=seed)
        return torch.cat([p.detach().flatten() for p in found.network.parameters()])

    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first = weights(3)
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first, weights(3))
    assert not torch.equal(first, weights(4))


def _gradients(network: Any, losses: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    network.zero_grad(set_to_none=True)
    torch.autograd.backward(torch.stack(list(losses.values())).sum())
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("model", MODELS[::2], ids=["hard sharing", "mmoe"])
def test_a_row_without_a_label_pulls_at_nothing(train: Dataset, preprocess: Preprocess, model: Architecture) -> None:
    numbers, categories = (torch.from_numpy(matrix) for matrix in preprocess(train.take(slice(0, 64)).raw))
    torch.manual_seed(0)
    network = model.build(preprocess.width, preprocess.cardinalities, ["click", "buy"])
    y = torch.from_numpy(train.labels["click"][:64])
    known = torch.arange(64) % 2 == 0
    masked = {"click": torch.where(known, y, torch.nan), "buy": torch.full((64,), torch.nan)}
    losses = masked_losses(network(numbers, categories), masked)
    assert list(losses) == ["click"]
    whole = _gradients(network, losses)
    assert not [name for name in whole if name.startswith("heads.1.")]
    kept = network(numbers[known], categories[known])
    alone = _gradients(network, masked_losses({"click": kept["click"]}, {"click": y[known]}))
    assert whole.keys() == alone.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(gradient, alone[name])


def test_batches_without_any_label_are_passed_over(train: Dataset, validation: Dataset, preprocess: Preprocess) -> None:
    labels = np.full(len(train), np.nan)
    labels[:20] = np.arange(20) % 2
    rare = Dataset(train.raw, {"click": labels, "buy": np.where(np.arange(len(train)) < 10, 1.0, np.nan)})
    found = fit(
        rare, validation, preprocess,
        tasks=["click", "buy"], model=SMALL, scalarizer=UncertaintyWeights(), epochs=1, batch_size=16,
    )  # fmt: skip
    assert all(torch.isfinite(p).all() for p in found.network.parameters())


def test_a_task_without_a_label_in_the_batch_does_not_move_its_uncertainty() -> None:
    mix = UncertaintyWeights().build(["a", "b"])
    mix({"b": torch.tensor(0.5, requires_grad=True)}).backward()
    gradient = next(mix.parameters()).grad
    assert gradient is not None
    assert gradient.tolist() == pytest.approx([0.0, 0.5 - 0.5])  # d/ds (exp(-s) L + s/2) = -L + 1/2 at s = 0
    mix({"a": torch.tensor(2.0)}).backward()
    assert gradient.tolist() == pytest.approx([-1.5, 0.0])


def test_the_uncertainty_that_is_learnt_is_that_of_the_formula() -> None:
    mix = UncertaintyWeights().build(["a"])
    optimiser = torch.optim.SGD(mix.parameters(), lr=0.2)
    for _ in range(500):
        optimiser.zero_grad()
        mix({"a": torch.tensor(0.1)}).backward()
        optimiser.step()
    assert next(mix.parameters()).item() == pytest.approx(np.log(2 * 0.1), abs=1e-3)  # where exp(-s) L = 1/2


def test_fixed_weights_are_a_weighted_sum() -> None:
    mix = FixedWeights({"a": 3.0}).build(["a", "b"])
    assert float(mix({"a": torch.tensor(0.5), "b": torch.tensor(0.25)})) == pytest.approx(1.75)
    with pytest.raises(ValueError, match="'c'"):
        FixedWeights({"c": 1.0}).build(["a"])


@pytest.mark.parametrize("model", MODELS[::2], ids=["hard sharing", "mmoe"])
def test_a_task_s_own_rate_moves_its_own_parameters_alone(
    train: Dataset, validation: Dataset, preprocess: Preprocess, model: Architecture
) -> None:
    def run(per_task_lr: dict[str, float]) -> Trained:
        some = train.take(slice(0, 512))
        return fit(
            some, validation, preprocess,
            tasks=["click", "buy"], model=model, epochs=1, batch_size=512, per_task_lr=per_task_lr,
        )  # fmt: skip

    usual, still = run({}), run({"buy": 0.0})
    names = {id(p): name for name, p in still.network.named_parameters()}
    own = {names[id(p)] for p in still.network.own_parameters("buy")}
    differs = {
        name
        for (name, a), b in zip(usual.network.named_parameters(), still.network.parameters(), strict=True)
        if not torch.equal(a, b)
    }
    assert differs == own  # after one step all else went the same way
    assert any(name.startswith("heads.1.") for name in own)
    assert any("gates.1" in name for name in own) == isinstance(model, MMoE)


def test_the_best_epoch_is_kept(train: Dataset, validation: Dataset, preprocess: Preprocess) -> None:
    told: list[Epoch] = []
    found = fit(
        train.take(slice(0, 300)), validation, preprocess,
        tasks=["click"], model=HardSharing(hidden=(64, 64)), epochs=30, batch_size=32, lr=1e-2, progress=told.append,
    )  # fmt: skip
    assert [epoch.number for epoch in told] == list(range(1, 31))
    assert found.epochs == tuple(told)
    assert found.best.score == min(epoch.score for epoch in told)
    assert found.best.number < 30  # 300 rows, 30 epochs: it has long learnt them by heart
    again = quality(validation.labels["click"], found.predict(validation.raw)["click"])
    assert again == found.best.validation["click"]


def test_a_task_without_labels_is_refused(train: Dataset, validation: Dataset, preprocess: Preprocess) -> None:
    with pytest.raises(ValueError, match="'sale' has no labels"):
        fit(train, validation, preprocess, tasks=["sale"])
    with pytest.raises(ValueError, match="'buy' has no labels here, or is not one of"):
        fit(train, validation, preprocess, tasks=["click"], per_task_lr={"buy": 1.0})
    empty = Dataset(train.raw, {"click": np.full(len(train), np.nan)})
    with pytest.raises(ValueError, match="not a single label"):
        fit(empty, validation, preprocess, tasks=["click"])


def test_a_training_that_diverges_says_so(train: Dataset, validation: Dataset, preprocess: Preprocess) -> None:
    with pytest.raises(ValueError, match="epoch 1 is nan: lower the learning rate"):
        fit(train, validation, preprocess, tasks=["click"], lr=1e30, epochs=1)


@pytest.mark.parametrize("seed", range(5))
def test_quality_agrees_with_scikit_learn(seed: int) -> None:
    random = np.random.default_rng(seed)
    y = (random.random(500) < 0.3).astype(np.float64)
    p = np.round(np.clip(0.3 * y + random.random(500) * 0.7, 0.01, 0.99), 1 + seed)  # few digits: many ties
    masked = np.where(random.random(500) < 0.2, np.nan, y)
    known = ~np.isnan(masked)
    found = quality(masked, p)
    assert (found.labels, found.positives) == (known.sum(), y[known].sum())
    assert found.auc == pytest.approx(roc_auc_score(y[known], p[known]))
    assert found.log_loss == pytest.approx(log_loss(y[known], p[known]))
    assert found.calibration == pytest.approx(p[known].sum() / y[known].sum())
    assert found.reference == pytest.approx(log_loss(y[known], np.full(known.sum(), y[known].mean())))


def test_what_nothing_tells_is_none() -> None:
    assert auc(np.ones(3), np.zeros(3)) is None
    nothing = quality(np.full(3, np.nan), np.full(3, 0.5))
    assert (nothing.labels, nothing.auc, nothing.log_loss, str(nothing)) == (0, None, None, "no labels")


def test_batches_are_every_row_once() -> None:
    found = list(batches(10, 4, np.random.default_rng(0)))
    assert [len(batch) for batch in found] == [4, 4, 2]
    assert sorted(np.concatenate(found).tolist()) == list(range(10))


def test_a_dataset_is_split_in_order_or_by_chance() -> None:
    rows = Dataset({"x": np.arange(10)}, {"y": np.array([0, 1] * 5, float)})
    first, last = rows.split(0.7)
    assert (first.raw["x"].tolist(), last.raw["x"].tolist()) == (list(range(7)), [7, 8, 9])
    mixed, rest = rows.split(0.7, np.random.default_rng(0))
    assert sorted([*mixed.raw["x"].tolist(), *rest.raw["x"].tolist()]) == list(range(10))
    assert rows.base_rate("y") == 0.5


@pytest.mark.parametrize(
    ("raw", "labels", "says"),
    [
        ({"x": np.zeros(3)}, {"y": np.zeros(2)}, "same number of rows"),
        ({"x": np.zeros(2)}, {"y": np.array([0.5, 1])}, "'y' must be 0, 1 or NaN"),
        ({}, {"y": np.zeros(2)}, "same number of rows"),
    ],
)
def test_a_dataset_that_makes_no_sense_is_refused(raw: Any, labels: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Dataset(raw, labels)
