"""States of the looks at which something changed, as files, so that a decision can be computed again later.

FOLDER/ROLLOUT/DIGEST.state   zlib of the work item as a line of JSON, then the state whose SHA-256 is DIGEST

Kept are the first look, those that change verdict, culprits, holds or what has begun, and the newest one (a move may
rest on a look at which only time had passed).
"""

from __future__ import annotations

import logging
import re
import shutil
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from monitors.assess import Assessor
from monitors.statefile import MAX_BYTES, Packed, digest_of
from serinus.errors import BadInput, NotFound
from serinus.evidence import Evidence, WorkItem

__all__ = ["FOLDER", "Keeper", "read_kept"]

_log = logging.getLogger(__name__)

FOLDER = "kept"
MOST_FILES, MOST_BYTES = 48, 256 << 20
"""Of one rollout. The first look and the newest ones stay."""
MOST_ROLLOUTS = 32
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
Said = tuple[str, tuple[str, ...], tuple[str, ...], bool]


@dataclass(slots=True)
class Keeper:
    """`folder`: of one rollout; `files`: what is kept, the oldest first; `passing`: the newest, of a look at which
    nothing changed; it goes when the next one comes. `held`: one that is to be it, and is not written yet."""

    folder: Path
    said: Said | None = None
    files: list[Path] = field(default_factory=list)
    passing: Path | None = None
    held: tuple[Path, WorkItem, Packed] | None = None

    def __post_init__(self) -> None:
        with suppress(OSError):
            self.files = sorted(self.folder.glob("*.state"), key=lambda path: path.stat().st_mtime_ns)

    def take(self, assessor: Assessor, evidence: Evidence, *, newest: bool) -> None:
        """Keep the state of a look, if it is of use. `newest`: nothing is due after it."""
        said = (evidence.verdict, evidence.culprits, tuple(_names(evidence.holds)), evidence.begun)
        changed, self.said = said != self.said, said
        path = self.folder / f"{evidence.state_digest}.state"
        if path in self.files or not (changed or newest):
            return
        self.held = (path, assessor.item, assessor.settled)
        if changed:
            self.files.append(path)
            self.flush()

    def flush(self) -> None:
        """Write what is held. What cannot be written is logged, and missed only when somebody asks for it."""
        if self.held is None:
            return
        (path, item, state), self.held = self.held, None
        try:
            write_kept(path, item, state)
            if self.passing is not None and self.passing != path:
                self.passing.unlink(missing_ok=True)
            self.passing = None if path in self.files else path
            self._bound()
        except OSError as error:
            _log.error("the state of a look at %s cannot be kept: %s", item.rollout, error)
            self.files = [kept for kept in self.files if kept != path]

    def _bound(self) -> None:
        sizes = {path: path.stat().st_size for path in self.files if path.exists()}
        while len(self.files) > 2 and (len(self.files) > MOST_FILES or sum(sizes.values()) > MOST_BYTES):
            gone = self.files.pop(1)
            gone.unlink(missing_ok=True)
            sizes.pop(gone, None)
        with suppress(OSError):
            others = sorted(self.folder.parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
            for old in others[MOST_ROLLOUTS:]:
                shutil.rmtree(old, ignore_errors=True)


def _names(holds: tuple[str, ...]) -> list[str]:
    """What holds, without its numbers, which move at each look."""
    return [re.sub(r"[-+0-9.,%]+", "", text) for text in holds]


def write_kept(path: Path, item: WorkItem, state: Packed) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = item.model_copy(update={"last_tick_ms": None}).model_dump_json().encode()
    fresh = path.with_suffix(".new")
    packer = zlib.compressobj(1)
    with fresh.open("wb") as file:
        for part in (head, b"\n", *state.parts):
            file.write(packer.compress(part))
        file.write(packer.flush())
    fresh.replace(path)


def read_kept(folder: Path, rollout: str, digest: str) -> tuple[WorkItem, bytes]:
    """What was to be judged, and the state. Raises NotFound when it is not kept, BadInput when it is damaged."""
    if not _NAME.fullmatch(rollout) or not _DIGEST.fullmatch(digest):
        raise BadInput(f"rollout {rollout[:80]!r} and digest {digest[:80]!r} name no state")
    path = folder / rollout / f"{digest}.state"
    if not path.exists():
        raise NotFound(
            f"the state of this look at {rollout} is not kept here",
            "kept are looks at which something changed, by the monitor that made them",
        )
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(path.read_bytes(), MAX_BYTES)
        if unpacker.unconsumed_tail or not unpacker.eof:
            raise ValueError("it is cut off, or too large")
        head, _, state = data.partition(b"\n")
        item = WorkItem.model_validate_json(head)
    except (OSError, zlib.error, ValueError) as error:
        raise BadInput(f"the state {digest[:12]} of rollout {rollout} is damaged: {error}") from error
    if digest_of(state) != digest:
        raise BadInput(f"the state {digest[:12]} of rollout {rollout} is damaged: its digest is another")
    return item, state
