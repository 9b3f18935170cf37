"""From a sampled call stack to the stage of a request that it belongs to."""

from __future__ import annotations

from collections import Counter

STAGES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ONNX Runtime", ("onnxruntime",)),
    ("shadow copies", ("serving/shadowing", "serving/throttle")),
    (
        "record: rows into the log",
        (
            "serving/recorder",
            "serving/recording",
            "serving/ring",
            "serving/spool",
            "serving/rows",
            "serving/marks",
            "serving/sampling",
            "/records.py",
        ),
    ),
    ("render: the answer's JSON", ("render (serving/", "serving/compression")),
    ("checks: inputs against the model", ("check (serving/ask", "_tensor (serving/ask", "_array (serving/ask")),
    ("checks: id, event time", ("identify (serving/ask", "serving/event_times", "serinus/ids")),
    ("parse: the body's JSON", ("parse (serving/protocol", "serving/binary", "serving/bodies", "serving/tensors")),
    ("split: arm, canary", ("serving/assignment", "serving/canary", "serving/breaker")),
    (
        "engine: parts in order, budgets, cache",
        tuple(
            f"serving/{name}.py"
            for name in (
                *("engine", "applied", "process", "plan", "steps", "head", "heads", "watchdog"),
                *("encoder_cache", "last_good", "workers", "breaker"),
            )
        ),
    ),
    (
        "labels, routes",
        ("serving/labels", "serving/label_", "serving/routes_", "serving/membership", "serving/replicas"),
    ),
    ("the door's own code", ("serving/",)),
    ("event loop, sockets", ("asyncio", "uvloop", "loop.c:", "uv_", "stream.c:", "core.c:", "linux.c:")),
    ("uvicorn", ("uvicorn/", "httptools")),
    ("Ray Serve", ("ray/serve/", "starlette/")),
    ("Ray and its gRPC", ("ray/", "grpc/")),
)
"""Stage and what marks it, in the order in which a stack's frames are asked, the innermost frame first."""
WAITS = ("epoll_", "acquire_lock", "cond_wait", "cond_timedwait", "os_read", "SimpleQueue_get", "poll (")
INNERMOST = 5


def stage_of(frames: list[str]) -> str:
    """`frames`: outermost first, each `function (file:line)`. The innermost frame that belongs to a stage decides."""
    for frame in reversed(frames):
        for stage, marks in STAGES:
            if any(mark in frame for mark in marks):
                return stage
    return "other"


def by_stage(raw: str) -> Counter[str]:
    """Samples by stage, of py-spy's raw format: `frame;frame;frame count` a line. Threads that wait do not count."""
    found: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if stack and not any(mark in frame for frame in frames[-INNERMOST:] for mark in WAITS):
            found[stage_of(frames)] += int(count)
    return found
