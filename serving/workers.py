"""A bounded number of threads for runs that may take longer than their caller waits."""

from __future__ import annotations

import logging
import threading
from queue import SimpleQueue
from typing import Protocol


class Job(Protocol):
    """Runs on a thread; `ended` is called there when the thread is free again, so it must be quick."""

    def __call__(self) -> None: ...
    def ended(self) -> None: ...


log = logging.getLogger(__name__)
MAX_THREADS = 16


class Workers:
    """Threads that are started when needed, kept, and never more than `max_threads`; a job never waits for one.

    They are daemons: a run that nothing can end does not keep the process from ending."""

    def __init__(self, max_threads: int = MAX_THREADS) -> None:
        self._max_threads = max_threads
        self._lock = threading.Lock()
        self._idle: list[SimpleQueue[Job]] = []
        self.threads = 0

    @property
    def busy(self) -> int:
        return self.threads - len(self._idle)

    def start(self, job: Job) -> bool:
        """Run `job` on a free thread, at once. False when all threads are taken: nothing was started."""
        with self._lock:
            if self._idle:
                inbox = self._idle.pop()
            elif self.threads < self._max_threads:
                self.threads += 1
                inbox = SimpleQueue()
                threading.Thread(target=self._work, args=(inbox,), name="head", daemon=True).start()
            else:
                return False
        inbox.put(job)
        return True

    def _work(self, inbox: SimpleQueue[Job]) -> None:
        while True:
            job = inbox.get()
            try:
                job()
            except Exception:
                log.exception("a head's job raised")
            with self._lock:
                self._idle.append(inbox)
            job.ended()
            del job  # it holds a request's tensors
