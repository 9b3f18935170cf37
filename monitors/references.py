"""What the versions' packages say of raw inputs: their baselines, and the texts that their preprocessing knows."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from monitors.packages import folder_of
from serinus.baseline import Baseline, read_baseline
from serinus.errors import SerinusError
from serinus.package import read_manifest
from serinus.routes import PackageRef
from serinus.vocabulary import vocabularies

__all__ = ["Reference", "reference_at", "references"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reference:
    """`words`: raw text input -> texts that the version knows; one that is not there has no vocabulary.

    `digest`: of the package; "": there was none to read, so nothing is told."""

    version: int
    digest: str = ""
    baseline: Baseline = field(default_factory=Baseline)
    words: Mapping[str, frozenset[str]] = field(default_factory=dict)


def reference_at(version: int, ref: PackageRef) -> Reference:
    """Read from the package, whose every file is checked. Raises InvalidPackage, BadInput, OSError."""
    folder = folder_of(ref)
    return Reference(version, ref.digest, read_baseline(folder), vocabularies(folder, read_manifest(folder)))


def references(packages: Mapping[int, PackageRef], versions: tuple[int, ...]) -> tuple[Reference, ...]:
    """One for each version, in this order. A package that cannot be read tells nothing: its checks say so."""
    found = []
    for version in versions:
        try:
            found.append(reference_at(version, packages[version]))
        except KeyError:
            found.append(Reference(version))
        except (SerinusError, OSError) as error:
            _log.warning("inputs are not compared with version %d: %s", version, error)
            found.append(Reference(version))
    return tuple(found)
