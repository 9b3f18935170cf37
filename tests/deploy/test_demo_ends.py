"""The demo that is stopped stops its stack: a process of its own, whose story is a stack of stand-in rooms."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
STORY = """
import sys, time
from examples.flights import demo
def story(wishes, packages, timeline):
    demo.serinus(wishes.home, "up", "--controller-port", "0", "--serving-port", "0", "--front-doors", "1")
    print("it is up", flush=True)
    time.sleep(600)
    return 1
demo._story = story
sys.exit(demo.main())
"""


def begin(stack: Any, **habits: str) -> subprocess.Popen[str]:
    """The demo with that story."""
    path = os.pathsep.join([str(stack.site), str(REPOSITORY)])
    env = {**stack.env, "PYTHONPATH": path, "KEEP": "0"}
    env |= {f"STAND_IN_{name.upper()}": habit for name, habit in habits.items()}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", STORY], env=env, cwd=stack.site, **pipes)


@pytest.mark.parametrize(
    ("when", "which", "code"),
    [("it is up", signal.SIGTERM, 143), ("it comes up", signal.SIGTERM, 143), ("it comes up", signal.SIGINT, 130)],
)
def test_the_demo_takes_its_stack_with_it(
    stack: Any, wait_for: Any, when: str, which: signal.Signals, code: int
) -> None:
    demo = begin(stack, serving="mute" if when == "it comes up" else "")
    try:
        if when == "it is up":
            wait_for(lambda: stack.home.stack() is not None or demo.poll() is not None, "the stack is up")
        else:
            wait_for(lambda: stack.starts("serving") == 1 or demo.poll() is not None, "the stack comes up")
        assert demo.poll() is None, demo.communicate()
        demo.send_signal(which)
        out, err = demo.communicate(timeout=90)
    finally:
        if demo.poll() is None:
            demo.kill()
            demo.communicate()
    assert demo.returncode == code, out + err
    assert f"stopped by {'SIGTERM' if which == signal.SIGTERM else 'Ctrl-C'}" in out
    assert "Traceback" not in err
    assert stack.home.stack() is None
    assert stack.home.supervisor() is None
    assert stack.processes() == []
