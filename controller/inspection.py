"""Looking into a package somebody else made: in a child process, with a time and a memory limit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import serinus
from serinus.errors import InvalidPackage, from_problem
from serinus.package import Manifest

__all__ = ["inspect"]

TIMEOUT_S = 180.0
MEMORY_BYTES = 8 << 30
"""Of address space: graph runtimes reserve far more than they touch."""

CHILD = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
sys.argv = ["serinus.inspect", sys.argv[2]]
runpy.run_module("serinus.inspect", run_name="__main__", alter_sys=True)
"""


def inspect(folder: Path, timeout_s: float = TIMEOUT_S, memory_bytes: int = MEMORY_BYTES) -> Manifest:
    """The manifest of a package that `python -m serinus.inspect` finds sound.

    Raises InvalidPackage with the reason, also when the inspection takes too long, too much memory, or crashes."""
    env = {
        **{key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG", "TMPDIR")},
        "PYTHONPATH": str(Path(serinus.__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", CHILD, str(memory_bytes), str(folder)]
    child = subprocess.Popen(
        command,
        cwd="/",
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        stdout, stderr = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise InvalidPackage(f"its inspection took longer than {timeout_s:g} s") from None
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    return _answer(child.returncode, stdout, stderr)


def _answer(code: int, stdout: bytes, stderr: bytes) -> Manifest:
    if code == 0:
        return Manifest.model_validate_json(stdout)
    if code == 1 and stdout:
        try:
            problem = json.loads(stdout)
        except ValueError:
            problem = None
        if isinstance(problem, dict):
            raise InvalidPackage(from_problem(problem).detail)
    last = stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
    raise InvalidPackage(f"its inspection ended with {code}, more memory than allowed perhaps: {last[0][:500]}")
