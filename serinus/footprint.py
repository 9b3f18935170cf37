"""How much memory a package takes once loaded, measured when it is made.

python -m serinus.footprint GRAPH...     loads the graphs and prints by how many bytes the process grew
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from serinus.errors import InvalidPackage

__all__ = ["footprint", "main"]

GRAIN_BYTES = 16 << 20
"""Two exports of one network must be one version, so what is measured is rounded up beyond its noise."""
SMALL_BYTES = 2 << 20
"""Graphs of this size together grow a process by less than one grain: not worth the second that measuring takes."""
WITHIN_S = 300.0


def footprint(graphs: Sequence[Path]) -> int:
    """Bytes that ONNX Runtime sessions of these graphs take, in a process of their own, rounded up.

    Raises InvalidPackage when they cannot be loaded."""
    if sum(path.stat().st_size for path in graphs) <= SMALL_BYTES:
        return GRAIN_BYTES
    here = str(Path(__file__).resolve().parent.parent)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([here, *os.environ.get("PYTHONPATH", "").split(os.pathsep)])}
    command = [sys.executable, "-m", "serinus.footprint", *map(str, graphs)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=WITHIN_S, check=False)
    if done.returncode:
        raise InvalidPackage(f"the graphs cannot be loaded: {done.stderr.strip()[-300:]}")
    return -(-max(1, int(done.stdout)) // GRAIN_BYTES) * GRAIN_BYTES


def main(arguments: list[str]) -> int:
    """What `python -m serinus.footprint` does. Gives the exit status."""
    from onnxruntime import InferenceSession  # noqa: PLC0415 (slow; a child process alone needs it)

    from serinus.execute import session_options  # noqa: PLC0415

    before = _resident()
    sessions = [InferenceSession(path, session_options(), providers=["CPUExecutionProvider"]) for path in arguments]
    print(_resident() - before)
    return 0 if sessions else 2


def _resident() -> int:
    """Memory of this process; where there is no /proc, the most that it ever had."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource  # noqa: PLC0415 (not on every system)

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
