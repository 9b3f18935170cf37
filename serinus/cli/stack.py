"""`serinus up | down`: the local stack."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from typing import Annotated

import typer

from serinus.cli.output import HomeOption, console
from serinus.client.where import local_stack
from serinus.errors import AlreadyActive, SerinusError, Unavailable
from serinus.home import Home, StackState
from serinus.rooms import rooms_path

__all__ = ["add_to"]

DOWN_S = 120.0


def up(
    home: HomeOption = None,
    *,
    controller_port: Annotated[int, typer.Option(help="Port of the API; 0: any free one.")] = 7410,
    serving_port: Annotated[int, typer.Option(help="Port for requests and labels; 0: any free one.")] = 7411,
    grpc_port: Annotated[int, typer.Option(help="Port for requests by gRPC; 0: any free one.")] = 0,
    front_doors: Annotated[int, typer.Option(min=1, max=64, help="Processes that answer requests.")] = 2,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay; Ctrl-C stops the stack.")] = False,
) -> None:
    """Start the local stack: controller, serving and monitor. Waits until it is ready."""
    at = Home(home)
    _need_server()
    if (pid := at.supervisor()) is not None:
        why = f"a stack runs in {at.path} already (process {pid})"
        raise AlreadyActive(why, "`serinus status` shows it, `serinus down` stops it, --home FOLDER starts another")
    ports = ["--controller-port", str(controller_port), "--serving-port", str(serving_port)]
    ports += ["--grpc-port", str(grpc_port)]
    command, env = _local(at, *ports, "--front-doors", str(front_doors))
    if foreground:
        os.chdir(at.path)
        os.execve(command[0], command, env)  # noqa: S606 - our own interpreter
    with (at.logs / "supervisor.log").open("ab") as log:
        supervisor = subprocess.Popen(
            command, cwd=at.path, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    state = _wait_ready(at, supervisor)
    if state is None or state.phase != "ready":
        problem = state.problem if state is not None else ""
        why = problem or f"the stack did not come up (exit code {supervisor.returncode})"
        raise Unavailable(
            why, (state.hint if state is not None else "") or f"{at.logs / 'supervisor.log'} has the rest"
        )
    stack = local_stack(at)
    console.print(
        f"[green]ready[/green]  controller {stack.api}   serving {stack.serving}   grpc {stack.grpc}   home {at.path}",
        soft_wrap=True,
    )
    console.print(
        "next:  serinus apply -f sla.yaml   serinus push MODEL FOLDER   serinus status   serinus down", soft_wrap=True
    )


def down(home: HomeOption = None) -> None:
    """Stop the local stack, and end whatever a crashed one left."""
    at = Home(home)
    if (pid := at.supervisor()) is None:
        if at.state_file.is_file():
            command, env = _local(at, "--clean")
            subprocess.run(command, cwd=at.path, env=env, check=True)
        console.print(f"no stack runs in {at.path}")
        return
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + DOWN_S
    with console.status("stopping") as shown:
        while at.supervisor() == pid and time.monotonic() < until:
            shown.update(f"stopping: {_in_words(at.state())}")
            time.sleep(0.1)
    if at.supervisor() == pid:
        why = f"the stack did not stop within {DOWN_S:.0f} s"
        raise SerinusError(why, f"`kill -9 {pid}`, then `serinus down` again ends what is left")
    console.print(f"the stack in {at.path} is down")


def add_to(app: typer.Typer) -> None:
    for command in (up, down):
        app.command()(command)


def _need_server() -> None:
    missing = [name for name in ("ray", "sqlalchemy", "psutil", "onnxruntime") if not importlib.util.find_spec(name)]
    if missing:
        raise Unavailable(f"{missing[0]} is not installed here", "a stack needs: pip install 'serinus[server]'")


def _local(home: Home, *options: str) -> tuple[list[str], dict[str, str]]:
    """Command and environment of the supervisor: the rooms are on its path and on that of what it starts."""
    home.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = os.pathsep.join([str(rooms_path()), *filter(None, [os.environ.get("PYTHONPATH")])])
    return [sys.executable, "-m", "deploy.local", "--home", str(home.path), *options], {
        **os.environ,
        "PYTHONPATH": path,
    }


def _wait_ready(home: Home, supervisor: subprocess.Popen[bytes]) -> StackState | None:
    """The supervisor's state when it is ready or has ended. Ctrl-C stops what was begun."""
    try:
        with console.status("starting") as shown:
            while supervisor.poll() is None:
                state = home.state()
                if state is not None and state.pid == supervisor.pid:
                    if state.phase == "ready":
                        return state
                    shown.update(f"starting: {_in_words(state)}")
                time.sleep(0.1)
    except KeyboardInterrupt:
        supervisor.terminate()
        supervisor.wait()
        raise
    state = home.state()
    return state if state is not None and state.pid == supervisor.pid else None


def _in_words(state: StackState | None) -> str:
    words = [f"{each.name} {each.state.replace('_', ' ')}" for each in state.processes] if state is not None else []
    return ", ".join(words)
