"""Multi-task networks: what the tasks share, and what is each one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

__all__ = ["Architecture", "HardSharing", "MMoE", "MultiTaskNetwork"]


ONE_EACH: Mapping[str, int] = {}


class MultiTaskNetwork(nn.Module):
    """An encoder that gives one or more embeddings, and a head per task that reads one of them.

    `encoder(numbers [n, D], categories [n, C]) -> tuple of [n, E]`; `heads[i](embedding)` -> raw numbers of `tasks[i]`
    (a logit, say), [n], or [n, classes] of a multiclass task; it reads embedding `reads[i]`. `streams` names the
    embeddings. `private[i]`: parameters outside of the head that are task i's own (a gate)."""

    def __init__(
        self, tasks: Sequence[str], encoder: nn.Module, heads: Sequence[nn.Module], streams: Sequence[str]
    ) -> None:
        super().__init__()
        self.tasks, self.streams = tuple(tasks), tuple(streams)
        self.encoder, self.heads = encoder, nn.ModuleList(heads)
        self.reads = tuple(range(len(tasks))) if len(streams) > 1 else (0,) * len(tasks)
        self.private: tuple[tuple[nn.Parameter, ...], ...] = ((),) * len(tasks)

    def forward(self, numbers: Tensor, categories: Tensor) -> dict[str, Tensor]:
        """task -> raw numbers (a logit, say), [n] or [n, classes]."""
        found = self.encoder(numbers, categories)
        return {task: self.heads[at](found[self.reads[at]]) for at, task in enumerate(self.tasks)}

    def own_parameters(self, task: str) -> list[nn.Parameter]:
        """What only this task trains: its head, and its gate if it has one."""
        at = self.tasks.index(task)
        return [*self.heads[at].parameters(), *self.private[at]]


class Architecture(Protocol):
    """A description from which a network of any width is built, with fresh weights."""

    def build(
        self, width: int, cardinalities: Sequence[int], tasks: Sequence[str], gives: Mapping[str, int] = ONE_EACH
    ) -> MultiTaskNetwork:
        """`width`: numbers, D; `cardinalities`: of each category column; `gives`: task -> raw numbers of its head for a
        row, where that is not one."""
        ...


class _Inputs(nn.Module):
    """Numbers beside the embeddings of the categories: [n, D + C * dim]. One table for all columns."""

    def __init__(self, width: int, cardinalities: Sequence[int], dim: int) -> None:
        super().__init__()
        self.size = width + dim * len(cardinalities)
        self.numbers = width > 0
        self.table = nn.Embedding(sum(cardinalities), dim) if cardinalities else None
        starts = [sum(cardinalities[:at]) for at in range(len(cardinalities))]
        self.starts: Tensor
        self.register_buffer("starts", torch.tensor(starts, dtype=torch.int64))
        if self.table is not None:
            nn.init.normal_(self.table.weight, std=0.1)
            with torch.no_grad():  # unknown and missing begin, and may stay, in the middle of the known ones
                for start in starts:
                    self.table.weight[start : start + 2] = 0

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        if self.table is None:
            return numbers
        embedded = self.table(categories + self.starts).flatten(1)
        return torch.cat([numbers, embedded], 1) if self.numbers else embedded


def _mlp(size: int, hidden: Sequence[int], dropout: float) -> tuple[nn.Sequential, int]:
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(size, width), nn.ReLU()] + ([nn.Dropout(dropout)] if dropout else [])
        size = width
    return nn.Sequential(*layers), size


class _Head(nn.Module):
    def __init__(self, size: int, hidden: Sequence[int], gives: int = 1) -> None:
        super().__init__()
        self.body, size = _mlp(size, hidden, 0.0)
        self.last = nn.Linear(size, gives)

    def forward(self, embedding: Tensor) -> Tensor:
        raw: Tensor = self.last(self.body(embedding))
        return raw.squeeze(1) if self.last.out_features == 1 else raw


class _Shared(nn.Module):
    def __init__(self, inputs: _Inputs, body: nn.Module) -> None:
        super().__init__()
        self.inputs, self.body = inputs, body

    def forward(self, numbers: Tensor, categories: Tensor) -> tuple[Tensor]:
        return (self.body(self.inputs(numbers, categories)),)


class _Mixture(nn.Module):
    def __init__(self, inputs: _Inputs, experts: Sequence[nn.Module], tasks: int) -> None:
        super().__init__()
        self.inputs, self.experts = inputs, nn.ModuleList(experts)
        self.gates = nn.ModuleList(nn.Linear(inputs.size, len(experts)) for _ in range(tasks))

    def forward(self, numbers: Tensor, categories: Tensor) -> tuple[Tensor, ...]:
        row = self.inputs(numbers, categories)
        opinions = torch.stack([expert(row) for expert in self.experts], 1)  # [n, experts, E]
        return tuple((torch.softmax(gate(row), 1).unsqueeze(2) * opinions).sum(1) for gate in self.gates)


@dataclass(frozen=True)
class HardSharing:
    """One encoder for all tasks (Caruana 1997, doi 10.1023/A:1007379606734)."""

    hidden: tuple[int, ...] = (128, 128)
    embedding_dim: int = 8
    head_hidden: tuple[int, ...] = (32,)
    dropout: float = 0.0

    def build(
        self, width: int, cardinalities: Sequence[int], tasks: Sequence[str], gives: Mapping[str, int] = ONE_EACH
    ) -> MultiTaskNetwork:
        inputs = _Inputs(width, cardinalities, self.embedding_dim)
        body, size = _mlp(inputs.size, self.hidden, self.dropout)
        heads = [_Head(size, self.head_hidden, gives.get(task, 1)) for task in tasks]
        return MultiTaskNetwork(tasks, _Shared(inputs, body), heads, ["embedding"])


@dataclass(frozen=True)
class MMoE:
    """Experts that all tasks share, mixed by a gate of each task (Ma et al. 2018, doi 10.1145/3219819.3220007)."""

    experts: int = 4
    hidden: tuple[int, ...] = (64, 64)
    embedding_dim: int = 8
    head_hidden: tuple[int, ...] = (32,)
    dropout: float = 0.0

    def build(
        self, width: int, cardinalities: Sequence[int], tasks: Sequence[str], gives: Mapping[str, int] = ONE_EACH
    ) -> MultiTaskNetwork:
        inputs = _Inputs(width, cardinalities, self.embedding_dim)
        bodies = [_mlp(inputs.size, self.hidden, self.dropout) for _ in range(self.experts)]
        encoder = _Mixture(inputs, [body for body, _ in bodies], len(tasks))
        heads = [_Head(bodies[0][1], self.head_hidden, gives.get(task, 1)) for task in tasks]
        network = MultiTaskNetwork(tasks, encoder, heads, [f"embedding_{task}" for task in tasks])
        network.reads = tuple(range(len(tasks)))
        network.private = tuple(tuple(gate.parameters()) for gate in encoder.gates)
        return network
