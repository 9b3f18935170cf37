"""Requests that name a version: they are answered when it is the stable one of all that they ask, and by stable.

A caller cannot choose an arm: the candidate's number is as unknown as any other, and who names stable's is neither
canary nor control, so that nothing is learnt from it about a rollout."""

from __future__ import annotations

from serinus.errors import NotFound
from serving.applied import Applied
from serving.ask import Ask


def stable_tasks(applied: Applied, version: str) -> list[str]:
    """The tasks whose stable version this is. Raises NotFound that says which versions there are."""
    found = [task for task, stable in applied.tasks.items() if str(stable) == version]
    if not found:
        raise NotFound(f"version {version[:20]!r} of {applied.table.model} is not served here, but {_served(applied)}")
    return found


def pin(applied: Applied, ask: Ask, version: str) -> None:
    """Hold a request to a version. Raises NotFound when some task that it asks has another."""
    own = stable_tasks(applied, version)
    for task in ask.tasks or applied.tasks:
        if task not in own:
            detail = (
                f"task {task!r} of {applied.table.model} is not answered by version {version}, but {_served(applied)}"
            )
            raise NotFound(detail, "ask only the tasks of that version, or name no version")
    ask.pinned = True


def _served(applied: Applied) -> str:
    by_version: dict[int, list[str]] = {}
    for task, version in applied.tasks.items():
        by_version.setdefault(version, []).append(task)
    return "; ".join(f"{version} ({', '.join(tasks[:20])})" for version, tasks in sorted(by_version.items()))
