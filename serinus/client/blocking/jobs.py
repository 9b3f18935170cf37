# Made by `python serinus/client/twin.py` from serinus/client/aio: edit there.
"""Long work: asked for, waited for, cancelled. It goes on without us."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from serinus.client.blocking.base import Base
from serinus.client.pauses import sleep
from serinus.client.who import who
from serinus.errors import JobFailed
from serinus.evidence import Evidence
from serinus.jobs import JOB_ENDS, Job, JobKind
from serinus.sla import Sla

__all__ = ["Jobs"]

EVERY_S = 0.3


class Jobs(Base):
    """What a monitor does on demand. Each method that starts a job gives the job at once."""

    def job_start(self, kind: JobKind, model: str, params: Mapping[str, Any] | None = None) -> Job:
        body = {"kind": kind, "model": model, "params": dict(params or {}), "actor": who()}
        return Job.model_validate(self.api.write("POST", "/v1/jobs", body))

    def plan(
        self,
        model: str,
        candidate: int | None = None,
        regression: float | None = None,
        sla: Sla | None = None,
        **params: Any,
    ) -> Job:
        """How long a rollout will take, and until a regression is caught. `regression`: so far the AUC falls.

        `params`: `days` of logs to look at; `per_day` and `base_rate` for a model without traffic."""
        told = {"candidate": candidate, "regression": regression, "sla": _plain(sla), **params}
        return self.job_start("plan", model, _given(told))

    def backtest(
        self, model: str, weeks: float = 4, inject: tuple[str, ...] = (), sla: Sla | None = None, **params: Any
    ) -> Job:
        """Today's guards (or those of `sla`) over logs of past weeks: what they would have rolled back, and when.

        `inject`: METRIC:SIZE[@TASK][@SLICE=VALUE], such as "auc:0.05@click"."""
        told = {"weeks": weeks, "inject": list(inject), "sla": _plain(sla), **params}
        return self.job_start("backtest", model, _given(told))

    def recompute(self, evidence: Evidence) -> Job:
        """Compute a look again from the state that its monitor kept. The result says whether it is `equal`, and if not
        the first `field` that differs, as `reported` and as `found`."""
        return self.job_start("recompute", evidence.model, {"evidence": evidence.model_dump(mode="json")})

    def jobs(self, model: str | None = None, kind: JobKind | None = None, limit: int | None = None) -> list[Job]:
        """The newest first, without their parameters and results."""
        asked = {"model": model, "kind": kind, "limit": limit}
        return [Job.model_validate(each) for each in self.api.page("/v1/jobs", **asked)]

    def job(self, job: str) -> Job:
        return Job.model_validate(self.api.read(f"/v1/jobs/{job}"))

    def erase(self, model: str, entity: str) -> Job:
        """Delete an entity's rows from the logs. The result counts them. What was decided stays decided."""
        return self.job_start("erase", model, {"entity": entity})

    def job_cancel(self, job: str) -> Job:
        return Job.model_validate(self.api.write("POST", f"/v1/jobs/{job}/cancel"))

    def job_wait(self, job: str, told: Callable[[Job], object] | None = None) -> Job:
        """The job when it is done; `told` hears of it meanwhile. Raises JobFailed when it ends otherwise."""
        while (found := self.job(job)).state not in JOB_ENDS:
            if told is not None:
                told(found)
            sleep(EVERY_S)
        if found.state != "done":
            raise JobFailed(f"job {job} is {found.state}: {found.said or 'nobody said why'}")
        return found


def _plain(sla: Sla | None) -> Any:
    return None if sla is None else sla.model_dump(mode="json")


def _given(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}
