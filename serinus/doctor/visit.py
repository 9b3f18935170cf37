"""One visit: look at the local stack, ask what answers, and put together what is wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from serinus.client.situation import Situation
from serinus.client.where import read_token
from serinus.doctor.asking import Asked, ask_all
from serinus.doctor.disk import judge_disks, rooms_on
from serinus.doctor.endpoints import judge_endpoints, problem_of
from serinus.doctor.finding import Finding, runbook
from serinus.doctor.processes import condition, judge_processes
from serinus.doctor.situations import behind, judge_situation
from serinus.doctor.watching import judge_metrics
from serinus.errors import SerinusError
from serinus.home import Home

__all__ = ["Visit", "visit"]

AGAIN_S = 2.0
"""A route table reaches every replica within a second: who has not got it when asked again has a trouble."""


@dataclass(slots=True)
class Visit:
    """`where`: what was looked at. `checked`: what was, in words. `findings`: what is wrong first."""

    where: str
    findings: list[Finding] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        return not any(each.level == "wrong" for each in self.findings)


def visit(home: Home, api: str | None = None, serving: str | None = None, token: str = "") -> Visit:
    """The stack of `home`; with `api` the controller at that URL (and `serving`), wherever they run.

    `token`: for the API; "" takes that of the local stack. Takes some seconds at most, whatever hangs."""
    made = Visit(where=api or str(home.path))
    urls = {} if api is None else _urls(api, serving)
    metrics: Mapping[str, str] = {}
    if api is None:
        metrics = _local(made, home)
        stack = home.stack() if home.supervisor() is not None else None  # else nobody answers, and it is known why
        if stack is not None:
            api, urls = stack.api, _urls(stack.api, stack.serving, stack.grpc)
            token = token or _token(made, stack.token_file)
    asked = ask_all(urls)
    made.findings += judge_endpoints(asked, urls)
    made.checked += sorted(urls)
    if api is not None and asked["controller"].well:
        _controller(made, api, token)
    if metrics:
        made.findings += judge_metrics(metrics, token)
        made.checked.append("metrics")
    made.findings = _once(made.findings)
    made.checked = list(dict.fromkeys(made.checked))
    return made


def _once(findings: list[Finding]) -> list[Finding]:
    """What is wrong first, and once: a process that hangs does not answer either, nor shows it metrics."""
    wrong = [each for each in findings if each.level == "wrong"]
    known: dict[tuple[str, str, str], Finding] = {}
    for each in [*wrong, *(each for each in findings if each.level != "wrong")]:
        alike = each.text if each.what.split(" ", 1)[-1] not in {"hangs", "is down"} else ""
        known.setdefault((each.what, each.model, alike), each)
    down = {what.removesuffix(end) for what, _, _ in known for end in (" hangs", " is down") if what.endswith(end)}
    return [each for each in known.values() if each.what.removeprefix("metrics of ") not in down]


def _urls(api: str, serving: str | None, grpc: str = "") -> dict[str, str]:
    api = api.rstrip("/")
    found = {"controller": f"{api}/healthz", "controller ready": f"{api}/readyz"}
    if serving:
        serving = serving.rstrip("/")
        found |= {"serving": f"{serving}/v2/health/live", "serving ready": f"{serving}/v2/health/ready"}
    return found | ({"grpc": f"tcp://{grpc}"} if grpc else {})


def _local(made: Visit, home: Home) -> Mapping[str, str]:
    """Processes and disks. Gives the URLs of the metrics: `metrics` of the stack."""
    state, alive = home.state(), home.supervisor() is not None
    pids = [state.pid, *(each.pid for each in state.processes)] if state is not None else []
    conditions = {pid: condition(pid) for pid in pids if pid is not None}
    made.findings += judge_processes(home.path, state, alive, conditions, time.time())
    made.findings += judge_disks(rooms_on([home.path, home.path / "log", home.path / "packages"]))
    made.checked += ["supervisor", *(each.name for each in (state.processes if state is not None else ())), "disk"]
    stack = home.stack()
    found = getattr(stack, "metrics", None) or {}
    return {f"metrics of {name}": str(url) for name, url in dict(found).items()} if alive else {}


def _token(made: Visit, file: str) -> str:
    try:
        return read_token(file)
    except SerinusError as error:
        made.findings.append(Finding(level="wrong", what="no token", text=error.detail, do="serinus up writes it anew"))
        return ""


def _controller(made: Visit, api: str, token: str) -> None:
    said = _situation(made, api, token)
    if said is None:
        return
    clock = time.time()
    late = behind(said)
    if late:
        time.sleep(AGAIN_S)
        again = _situation(made, api, token)
        late = late & behind(again) if again is not None else late
        said, clock = again or said, time.time()
    made.findings += [_behind(replica, model) for replica, model in sorted(late)[:20]]
    made.findings += judge_situation(said, clock)
    made.checked += ["lease", "replicas", "monitors", "rollouts", "alerts", "notices", "clocks"]


def _situation(made: Visit, api: str, token: str) -> Situation | None:
    """What the controller says; where it does not, that is a finding."""
    url = f"{api.rstrip('/')}/v1/status"
    answer = ask_all({"status": url}, token)["status"]
    if answer.well:
        try:
            return Situation.model_validate(json.loads(answer.body))
        except (ValueError, ValidationError):
            answer = Asked("broken", said="its status cannot be read; is it a controller, and is it this release?")
    detail, hint = problem_of(answer)
    text = detail or answer.said or f"{url} answers {answer.status}"
    do = hint or "the log of the controller has the rest"
    if answer.status in {401, 403}:
        do = "SERINUS_TOKEN_FILE names the file with a token of role viewer or above"
    page = runbook("target-down" if answer.status < 500 else "database-down")
    made.findings.append(Finding(level="wrong", what="controller says no", text=text, do=do, runbook=page))
    return None


def _behind(replica: str, model: str) -> Finding:
    text = f"{replica} has not applied the newest route table of {model}: it answers by an old one"
    do = "its log says whether it reaches the controller and can load the versions"
    page = runbook("replicas-behind")
    return Finding(level="wrong", what="replica is behind", text=text, do=do, model=model, runbook=page)
