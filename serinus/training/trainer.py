"""Training: minibatches, Adam with a learning rate per task, validation after each epoch, the best epoch kept."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from serinus.training.architectures import Architecture, HardSharing, MultiTaskNetwork
from serinus.training.data import Dataset, batches
from serinus.training.metrics import AnyQuality, quality_of
from serinus.training.preprocess import Preprocess
from serinus.training.scalarizers import FixedWeights, Scalarizer, masked_losses
from serinus.training.targets import Learnt

__all__ = ["Epoch", "Trained", "fit"]

Arrays = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Epoch:
    """One pass over the training rows: mean scalarised loss, validation quality per task, and `score`.

    `score`: mean over tasks of loss / loss of the base rate; the epoch with the lowest is kept."""

    number: int
    loss: float
    validation: Mapping[str, AnyQuality]
    score: float

    def __str__(self) -> str:
        tasks = ", ".join(f"{task}: {quality}" for task, quality in self.validation.items())
        return f"epoch {self.number}: loss {self.loss:.4f}; {tasks}"


@dataclass(frozen=True, eq=False)
class Trained:
    """A network with the weights of its best epoch, and what it needs to be exported."""

    preprocess: Preprocess
    network: MultiTaskNetwork
    targets: Mapping[str, Learnt]
    epochs: tuple[Epoch, ...]
    best: Epoch
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def tasks(self) -> tuple[str, ...]:
        return self.network.tasks

    def predict(self, raw: Mapping[str, npt.NDArray[np.generic]], chunk: int = 65_536) -> Arrays:
        """task -> answers, float32: probabilities [n], numbers [n], or probabilities of classes [n, classes]."""
        numbers, categories = self.preprocess(raw)
        return _predict(self.network, self.targets, torch.from_numpy(numbers), torch.from_numpy(categories), chunk)


def fit(
    dataset: Dataset,
    validation: Dataset,
    preprocess: Preprocess,
    *,
    tasks: Sequence[str],
    model: Architecture = HardSharing(),  # noqa: B008
    scalarizer: Scalarizer = FixedWeights(),  # noqa: B008
    epochs: int = 4,
    batch_size: int = 1024,
    lr: float = 2e-3,
    per_task_lr: Mapping[str, float] = {},
    weight_decay: float = 0.0,
    seed: int = 0,
    threads: int = 1,
    progress: Callable[[Epoch], None] | None = None,
) -> Trained:
    """Train `tasks` together on `dataset` and keep the epoch that is best on `validation`.

    `lr`: of all that is shared; `per_task_lr`: of what is a task's own, where it shall differ; both fall to 0 along
    half a cosine. `progress` is called after each epoch. The same `seed` gives the same weights.
    `threads`: of torch, while it trains: networks of this size gain nothing from more, and lose much on a busy machine.
    Raises ValueError for tasks without labels and for a loss that diverges."""
    tasks = tuple(tasks)
    for name in {*tasks, *per_task_lr}:
        if name not in dataset.labels or name not in tasks:
            raise ValueError(f"task {name!r} has no labels here, or is not one of {list(tasks)}")
        if np.isnan(dataset.labels[name]).all():
            raise ValueError(f"task {name!r} has not a single label")
    if epochs < 1 or batch_size < 1:
        raise ValueError(f"epochs is {epochs}, batch_size {batch_size}; both must be at least 1")
    numbers, categories = (torch.from_numpy(matrix) for matrix in preprocess(dataset.raw))
    held_numbers, held_categories = (torch.from_numpy(matrix) for matrix in preprocess(validation.raw))
    labels = {task: torch.from_numpy(dataset.labels[task].astype(np.float32)) for task in tasks}
    random = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]), _threads(threads):
        torch.manual_seed(seed)
        targets = {task: dataset.learnt(task) for task in tasks}
        network = _network(model, preprocess, targets)
        mix = scalarizer.build(tasks)
        optimiser = torch.optim.Adam(_groups(network, mix, lr, per_task_lr), lr=lr, weight_decay=weight_decay)
        steps = epochs * math.ceil(len(dataset) / batch_size)
        cooling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        history: list[Epoch] = []
        best: tuple[Epoch, dict[str, Tensor]] | None = None
        for number in range(1, epochs + 1):
            network.train()
            summed, count = torch.zeros(()), 0
            for rows in batches(len(dataset), batch_size, random):
                at = torch.from_numpy(rows)
                logits = network(numbers[at], categories[at])
                losses = masked_losses(logits, {task: column[at] for task, column in labels.items()}, targets)
                if not losses:
                    continue
                loss = mix(losses)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                cooling.step()
                summed += loss.detach()
                count += 1
            if not torch.isfinite(summed):
                raise ValueError(f"the loss of epoch {number} is {summed.item()}: lower the learning rate")
            found = _predict(network, targets, held_numbers, held_categories)
            epoch = _judge(number, float(summed) / max(count, 1), validation, found)
            history.append(epoch)
            if best is None or epoch.score < best[0].score:
                best = epoch, copy.deepcopy(network.state_dict())
            if progress is not None:
                progress(epoch)
    assert best is not None
    network.load_state_dict(best[1])
    network.eval()
    settings = {"architecture": repr(model), "scalarizer": repr(scalarizer), "seed": str(seed), "lr": str(lr)}
    return Trained(preprocess, network, targets, tuple(history), best[0], settings)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _network(model: Architecture, preprocess: Preprocess, targets: Mapping[str, Learnt]) -> MultiTaskNetwork:
    gives = {task: each.target.width for task, each in targets.items()}
    network = model.build(preprocess.width, preprocess.cardinalities, tuple(targets), gives)
    _start_at(network, targets)
    return network


def _start_at(network: MultiTaskNetwork, targets: Mapping[str, Learnt]) -> None:
    """Let each head begin at its base rate."""
    for task, head in zip(network.tasks, network.heads, strict=True):
        last = getattr(head, "last", None)
        if isinstance(last, nn.Linear):
            targets[task].start(last)


def _groups(
    network: MultiTaskNetwork, mix: nn.Module, lr: float, per_task_lr: Mapping[str, float]
) -> list[dict[str, object]]:
    """Parameter groups of Adam: what is shared, then each task's own."""
    own = {task: network.own_parameters(task) for task in network.tasks}
    private = {id(parameter) for parameters in own.values() for parameter in parameters}
    shared = [parameter for parameter in network.parameters() if id(parameter) not in private]
    groups: list[dict[str, object]] = [{"params": [*shared, *mix.parameters()], "lr": lr}]
    groups += [{"params": parameters, "lr": per_task_lr.get(task, lr)} for task, parameters in own.items()]
    return groups


@torch.no_grad()
def _predict(
    network: MultiTaskNetwork, targets: Mapping[str, Learnt], numbers: Tensor, categories: Tensor, chunk: int = 65_536
) -> Arrays:
    network.eval()
    parts = [network(numbers[at : at + chunk], categories[at : at + chunk]) for at in range(0, len(numbers), chunk)]
    return {task: targets[task].answer(torch.cat([part[task] for part in parts])).numpy() for task in network.tasks}


def _judge(number: int, loss: float, validation: Dataset, found: Arrays) -> Epoch:
    by_task = {task: quality_of(validation.target(task), validation.labels[task], p) for task, p in found.items()}
    ratios = [ratio for ratio in (each.ratio for each in by_task.values()) if ratio is not None]
    return Epoch(number, loss, by_task, sum(ratios) / len(ratios) if ratios else loss)
