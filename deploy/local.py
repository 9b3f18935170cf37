"""`python -m deploy.local`: the local stack, in the foreground, until SIGTERM or Ctrl-C. `serinus up` runs it."""

from __future__ import annotations

import argparse
import fcntl
import os
import secrets
import signal
import sys
import threading
import time
from typing import TextIO

from deploy.ports import HOST, choose_port
from deploy.processes import become_subreaper
from deploy.settings import process_specs
from deploy.supervisor import Supervisor, end_leftovers, ready_folder
from deploy.tokens import ensure_tokens, token_file
from serinus.errors import AlreadyActive, SerinusError
from serinus.home import Home, Stack, StackState, write_whole

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """0 after a clean stop, 1 when the stack did not come up (the reason is on stderr and in state.json)."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    parser.add_argument("--home", help="state folder (default: $SERINUS_HOME, else ~/.serinus)")
    parser.add_argument("--controller-port", type=int, default=7410, help="0: any free port")
    parser.add_argument("--serving-port", type=int, default=7411, help="0: any free port")
    parser.add_argument("--grpc-port", type=int, default=0, help="the serving side's gRPC; 0: any free port")
    parser.add_argument("--front-doors", type=int, default=2, help="processes that answer requests")
    parser.add_argument("--clean", action="store_true", help="only end what a crashed stack left behind")
    options = parser.parse_args(arguments)
    stopping = threading.Event()
    for which in (signal.SIGTERM, signal.SIGINT):
        signal.signal(which, lambda *_: stopping.set())
    try:
        home = Home(options.home)
        ready_folder(home)
        with _locked(home):
            if left := end_leftovers(home):
                _say(f"ended {left} processes of a stack that had crashed")
            if not options.clean:
                _supervise(home, options, stopping)
    except SerinusError as error:
        _say(f"{error.detail}\n  -> {error.advice}")
        return 1
    return 0


def _supervise(home: Home, options: argparse.Namespace, stopping: threading.Event) -> None:
    become_subreaper()
    name = secrets.token_hex(8)
    try:
        controller_port = choose_port(options.controller_port, "the controller", "--controller-port")
        serving_port = choose_port(options.serving_port, "the serving side", "--serving-port")
        grpc_port = choose_port(options.grpc_port, "the serving side's gRPC", "--grpc-port")
        ensure_tokens(home)
        metrics = {name: choose_port(0, f"the metrics of {name}", "--home") for name in ("serving", "monitors")}
        specs = process_specs(home, controller_port, serving_port, grpc_port, options.front_doors, metrics=metrics)
    except SerinusError as error:
        failed = StackState(stack=name, pid=os.getpid(), phase="failed", problem=error.detail, hint=error.advice)
        write_whole(home.state_file, failed)
        raise
    stack = Stack(
        stack=name,
        pid=os.getpid(),
        api=f"http://{HOST}:{controller_port}",
        serving=f"http://{HOST}:{serving_port}",
        grpc=f"{HOST}:{grpc_port}",
        token_file=str(token_file(home, "admin")),
        replay_token_file=str(token_file(home, "replay")),
        metrics={
            name: f"http://{HOST}:{port}/metrics" for name, port in {"controller": controller_port, **metrics}.items()
        },
    )
    Supervisor(home, specs, stack, stopping, _say).run()


def _locked(home: Home) -> TextIO:
    """The lock file, held until it is closed. Raises AlreadyActive when another supervisor holds it."""
    file = home.lock_file.open("a+")
    for last in (*[False] * 20, True):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError as error:
            if not last:
                time.sleep(0.02)  # who only looks whether a supervisor lives holds it for a moment
                continue
            file.close()
            why = f"a stack runs in {home.path} already (process {home.supervisor()})"
            raise AlreadyActive(
                why, "`serinus status` shows it, `serinus down` stops it, --home FOLDER starts another"
            ) from error
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
