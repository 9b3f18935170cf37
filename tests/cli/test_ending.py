"""The process of a command ends without noise, whenever Ctrl-C comes."""

from __future__ import annotations

import subprocess
import sys

LATE = """
import os, signal, sys, threading
def late():
    threading.main_thread().join()
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=late).start()
sys.argv = ["serinus", "--help"]
from serinus.cli import run
run()
"""


def test_ctrl_c_after_the_work_is_done_prints_no_traceback() -> None:
    ended = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, timeout=90, check=False)
    assert "Registry and rollout controller" in ended.stdout
    assert ended.stderr == ""
