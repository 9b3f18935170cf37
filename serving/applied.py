"""A route table in force, together with the engines of its versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from serinus.errors import InvalidPackage
from serinus.package import Manifest
from serinus.routes import HeadPolicy, RouteTable
from serinus.tasks import InputSpec
from serving.ask import Output, Tensor
from serving.engine import Engine


@dataclass(frozen=True, slots=True)
class Group:
    """The tasks that one version answers together."""

    version: int
    digest: str
    tasks: tuple[str, ...]


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
    specs: dict[str, InputSpec]
    manifests: dict[str, Manifest] = field(default_factory=dict)
    _groups: dict[tuple[str, tuple[str, ...]], tuple[Group, ...]] = field(default_factory=dict)

    @property
    def tasks(self) -> dict[str, int]:
        return self.table.stable

    def groups(self, side: Literal["stable", "candidate"], asked: tuple[str, ...]) -> tuple[Group, ...]:
        """The asked tasks (() for all) that this side answers, by version. Remembered."""
        found = self._groups.get((side, asked))
        if found is None:
            versions = self.table.stable if side == "stable" else self.table.candidate or {}
            wanted = [task for task in asked or versions if task in versions]
            found = tuple(
                Group(v, self.table.packages[v].digest, tuple(task for task in wanted if versions[task] == v))
                for v in dict.fromkeys(versions[task] for task in wanted)
            )
            self._groups[side, asked] = found
        return found

    def run(
        self,
        inputs: Mapping[str, Tensor],
        groups: tuple[Group, ...],
        entity: str = "",
        deadline_ns: int | None = None,
    ) -> list[Output]:
        """The outputs of these groups, computed in this process. Raises what the engine raises."""
        return run(self.engines, inputs, groups, self.table.heads, entity=entity, deadline_ns=deadline_ns)


def run(
    engines: Mapping[str, Engine],
    inputs: Mapping[str, Tensor],
    groups: tuple[Group, ...],
    policy: Mapping[str, HeadPolicy] | None = None,
    *,
    entity: str = "",
    deadline_ns: int | None = None,
) -> list[Output]:
    """Run each group on its version's engine. Raises KeyError when a version is not loaded here."""
    return [
        Output(task, scored.values, group.version, scored.fallback)
        for group in groups
        for task, scored in engines[group.digest].run(inputs, group.tasks, policy, entity, deadline_ns).items()
    ]


def apply(table: RouteTable, loaded: Mapping[str, Engine], manifests: Mapping[str, Manifest] | None = None) -> Applied:
    """Put a table in force. `loaded`: digest -> engine, of the versions that this process holds.

    `manifests`: digest -> manifest, also of those that it only has to know; None: those that are loaded.
    Raises Unfit when a version lacks a task that the table gives to it."""
    if manifests is None:
        manifests = {digest: engine.manifest for digest, engine in loaded.items()}
    digests = [table.packages[version].digest for version in sorted(table.versions())]
    known = {digest: manifests[digest] for digest in digests if digest in manifests}
    specs: dict[str, InputSpec] = {}
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
