"""Which parts the asked tasks need: the trunk, that several tasks share, and after it the heads, one task's each.

A part belongs to the head of a task when nothing else needs it, or only by way of that task's own output (as the
head of a conversion, which multiplies by the click's probability, needs the click's). Everything else is trunk. In a
package with one task nothing is shared: there the parts of role `head` are the head."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from serinus.package import Manifest, Part


@dataclass(frozen=True, slots=True)
class HeadPlan:
    """`parts` in the order to run them. `reads`: the tensors that others give. `needs`: the tasks whose heads do so."""

    task: str
    parts: tuple[Part, ...]
    reads: tuple[str, ...]
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """`reads`: the raw inputs. `heads`: each after those that it needs; some may not be asked, only needed."""

    reads: tuple[str, ...]
    trunk: tuple[Part, ...]
    heads: tuple[HeadPlan, ...]


def owners(manifest: Manifest) -> dict[str, str]:
    """part -> the task whose head it belongs to. Parts of the trunk are not in it."""
    parts = manifest.plan(manifest.task_names)
    source = sources(manifest)
    gives: dict[str, list[str]] = {}
    for spec in manifest.tasks:
        if spec.output in source:
            gives.setdefault(source[spec.output].name, []).append(spec.name)
    readers: dict[str, list[str]] = {part.name: [] for part in parts}
    for part in parts:
        for name in {source[tensor].name for tensor in part.inputs if tensor in source}:
            readers[name].append(part.name)
    found: dict[str, str] = {}
    trunk: set[str] = set()
    for part in reversed(parts):  # a part comes after those that read it
        tasks = gives.get(part.name) or {found.get(reader, "") for reader in readers[part.name]}
        read_by_trunk = any(reader in trunk for reader in readers[part.name])
        alone = len(manifest.tasks) == 1 and part.role != "head"
        task = next(iter(tasks)) if len(tasks) == 1 and not read_by_trunk and not alone else ""
        if task:
            found[part.name] = task
        else:
            trunk.add(part.name)
    return found


def plan_of(
    manifest: Manifest, owner: dict[str, str], asked: Collection[str], given: Collection[str] = frozenset()
) -> Plan:
    """What to run for these tasks when the outputs of the parts `given` are there. Raises KeyError: unknown task."""
    source = sources(manifest)
    wanted = [manifest.task(task).output for task in asked]
    needed: set[str] = set()
    reads = {tensor: None for tensor in wanted if tensor not in source}
    while wanted:
        part = source.get(wanted.pop())
        if part is not None and part.name not in needed and part.name not in given:
            needed.add(part.name)
            wanted.extend(part.inputs)
            reads.update({tensor: None for tensor in part.inputs if tensor not in source})
    parts = [part for part in manifest.plan(asked) if part.name in needed]
    by_task: dict[str, list[Part]] = {}
    for part in parts:
        if task := owner.get(part.name):
            by_task.setdefault(task, []).append(part)
    last = {task: parts.index(own[-1]) for task, own in by_task.items()}
    heads = tuple(
        HeadPlan(task, tuple(by_task[task]), _reads(by_task[task]), _needs(by_task[task], source, owner, by_task))
        for task in sorted(by_task, key=last.__getitem__)
    )
    return Plan(tuple(reads), tuple(part for part in parts if part.name not in owner), heads)


def reaching(manifest: Manifest, part: Part) -> tuple[str, ...]:
    """The raw inputs that a part's outputs depend on, in the manifest's order."""
    source = sources(manifest)
    seen: set[str] = set()
    wanted = list(part.inputs)
    while wanted:
        tensor = wanted.pop()
        if tensor not in seen:
            seen.add(tensor)
            if tensor in source:
                wanted.extend(source[tensor].inputs)
    return tuple(spec.name for spec in manifest.inputs if spec.name in seen)


def sources(manifest: Manifest) -> dict[str, Part]:
    """tensor -> the part that gives it."""
    return {tensor: part for part in manifest.parts for tensor in part.outputs}


def _reads(parts: list[Part]) -> tuple[str, ...]:
    own = {tensor for part in parts for tensor in part.outputs}
    return tuple(dict.fromkeys(tensor for part in parts for tensor in part.inputs if tensor not in own))


def _needs(
    parts: list[Part], source: dict[str, Part], owner: dict[str, str], running: Collection[str]
) -> tuple[str, ...]:
    own = owner[parts[0].name]
    read = (source[tensor] for part in parts for tensor in part.inputs if tensor in source)
    others = dict.fromkeys(owner.get(part.name, "") for part in read)
    return tuple(task for task in others if task and task != own and task in running)
