"""A route table in force, together with the engines of its versions."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from serinus.errors import InvalidPackage
from serinus.package import Manifest
from serinus.routes import HeadPolicy, RouteTable
from serinus.tasks import TaskSpec
from serving.ask import Output, Tensor
from serving.engine import Engine
from serving.layout import Specs


@dataclass(frozen=True, slots=True)
class Group:
    """The tasks that one version answers together. `heads`: the policies of those that have not the default one."""

    version: int
    digest: str
    tasks: tuple[str, ...]
    heads: dict[str, HeadPolicy] = field(default_factory=dict, compare=False)


class Unfit(InvalidPackage):
    """A version cannot do what a route table wants of it. `digest` says which."""

    def __init__(self, digest: str, detail: str) -> None:
        super().__init__(detail)
        self.digest = digest


@dataclass(frozen=True)
class Applied:
    """`specs`: every raw input that a version of the table takes. An input that only the candidate has is optional.

    `tasks`: task -> stable version, what a caller may ask for. `manifests`: digest -> manifest, of every version that
    is known here; `engines` has those that are loaded, which depends on what this process is for."""

    table: RouteTable
    engines: dict[str, Engine]
    specs: Specs
    manifests: dict[str, Manifest] = field(default_factory=dict)
    _groups: dict[tuple[str, tuple[str, ...]], tuple[Group, ...]] = field(default_factory=dict)
    _since: tuple[float, float] = field(default_factory=lambda: (time.time(), time.monotonic()))

    def now_s(self) -> float:
        """Unix seconds, not earlier than by what has really passed since the table came into force.

        A clock that is set back leaves nobody in a canary that nobody renews."""
        wall, steady = self._since
        return max(time.time(), wall + time.monotonic() - steady)

    @property
    def tasks(self) -> dict[str, int]:
        return self.table.stable

    @functools.cached_property
    def answers(self) -> dict[str, TaskSpec]:
        """task -> what the stable version says of its answers, of every task that a caller may ask for."""
        digests = {task: self.table.packages[version].digest for task, version in self.tasks.items()}
        return {task: self.manifests[digest].task(task) for task, digest in digests.items() if digest in self.manifests}

    def shape_of(self, task: str) -> list[int]:
        """The shape of a task's answers as the protocol describes it: -1 stands for the rows."""
        return [-1, *(self.answers[task].row_shape if task in self.answers else ())]

    def groups(self, side: Literal["stable", "candidate"], asked: tuple[str, ...]) -> tuple[Group, ...]:
        """The asked tasks (() for all) that this side answers, by version. Remembered."""
        found = self._groups.get((side, asked))
        if found is None:
            versions = self.table.stable if side == "stable" else self.table.candidate or {}
            wanted = [task for task in asked or versions if task in versions]
            found = tuple(
                self._group(v, tuple(task for task in wanted if versions[task] == v))
                for v in dict.fromkeys(versions[task] for task in wanted)
            )
            self._groups[side, asked] = found
        return found

    def heads(self) -> dict[str, Any]:
        """version -> task -> how its head is, of the versions that are loaded here."""
        digests = {version: self.table.packages[version].digest for version in sorted(self.table.versions())}
        return {str(v): self.engines[digest].status() for v, digest in digests.items() if digest in self.engines}

    def _group(self, version: int, tasks: tuple[str, ...]) -> Group:
        return Group(version, self.table.packages[version].digest, tasks, dict(self.table.heads))

    def run(
        self,
        inputs: Mapping[str, Tensor],
        groups: tuple[Group, ...],
        entity: str = "",
        deadline_ns: int | None = None,
        *,
        trunk_must_run: bool = False,
    ) -> list[Output]:
        """The outputs of these groups, computed in this process. Raises what the engine raises.

        Where a head fails, its fallback stands in; where the shared parts fail, all of them."""
        return run(self.engines, inputs, groups, entity, deadline_ns, trunk_must_run=trunk_must_run)


def run(
    engines: Mapping[str, Engine],
    inputs: Mapping[str, Tensor],
    groups: tuple[Group, ...],
    entity: str = "",
    deadline_ns: int | None = None,
    *,
    trunk_must_run: bool = False,
) -> list[Output]:
    """Run each group on its version's engine. Raises KeyError when a version is not loaded here.

    `trunk_must_run`: raise when the shared parts fail, for somebody else has better answers than fallbacks."""
    return [
        Output(task, scored.values, group.version, scored.fallback)
        for group in groups
        for task, scored in engines[group.digest]
        .run(inputs, group.tasks, group.heads, entity, deadline_ns, trunk_must_run=trunk_must_run)
        .items()
    ]


def apply(table: RouteTable, loaded: Mapping[str, Engine], manifests: Mapping[str, Manifest] | None = None) -> Applied:
    """Put a table in force. `loaded`: digest -> engine, of the versions that this process holds.

    `manifests`: digest -> manifest, also of those that it only has to know; None: those that are loaded.
    Raises Unfit when a version lacks a task that the table gives to it."""
    if manifests is None:
        manifests = {digest: engine.manifest for digest, engine in loaded.items()}
    digests = [table.packages[version].digest for version in sorted(table.versions())]
    known = {digest: manifests[digest] for digest in digests if digest in manifests}
    specs = Specs()
    for required, versions in ((True, table.stable), (False, table.candidate or {})):
        for task, version in versions.items():
            manifest = known.get(digest := table.packages[version].digest)
            if manifest is None:
                continue
            if task not in manifest.task_names:
                raise Unfit(digest, f"version {version} of {table.model} has no task {task!r}")
            for spec in manifest.inputs:
                specs.setdefault(spec.name, spec if required else spec.model_copy(update={"required": False}))
    return Applied(table, {digest: loaded[digest] for digest in digests if digest in loaded}, specs, known)
