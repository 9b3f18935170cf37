"""The resources against a real API server: what it takes, what it refuses, and that the words think the same."""

from __future__ import annotations

import copy
import functools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from serinus.errors import BadInput
from serinus.resources.crds import crds, main
from serinus.resources.manifests import KINDS, read_manifests
from tests.kube.guessed import of_schema
from tests.kube.overlays import KUBERNETES, kubectl
from tests.kube.refused import MODEL, ONLY_THE_OPERATOR, POOL, REFUSED, ROLLOUT, Change, changed

EXAMPLES = sorted((KUBERNETES / "examples").glob("*.yaml"))
NAMESPACE = "resources"
SLA = MODEL["spec"]["sla"]
KNOWN: dict[str, Any] = {
    "model": None,
    "tasks": SLA["tasks"],
    "slices": SLA["slices"],
    "guards": SLA["guards"],
    "zone": "UTC",
    "needs": None,
}
"""Field -> what it is in every generated spec; None: it is left out where it may be."""
Kubectl = Callable[..., Any]
Try = Callable[[dict[str, Any]], str]


@pytest.fixture(scope="module")
def kube(api_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """kubectl in a namespace of these tests; `text`: its standard input."""
    run = functools.partial(kubectl, api_server.binaries / "kubectl", api_server.kubeconfig)
    done = run("apply", "--server-side", "-k", str(KUBERNETES / "crds"))
    assert done.returncode == 0, done.stderr
    for plural in ("servingpools", "multitaskmodels", "rollouts"):
        known = run("wait", "--for=condition=Established", f"crd/{plural}.serinus.dev", "--timeout=60s")
        assert known.returncode == 0, known.stderr
    end = time.monotonic() + 60
    while run(f"--cache-dir={tmp_path_factory.mktemp('fresh')}", "get", "serinus").returncode:  # until it is listed
        assert time.monotonic() < end
    made = run("create", "namespace", NAMESPACE)
    assert made.returncode == 0, made.stderr
    return functools.partial(run, "-n", NAMESPACE)


@pytest.fixture(scope="module")
def try_it(api_server: Any, kube: Kubectl) -> Iterator[Try]:
    """Why the API server does not take a resource; "": it does. Nothing stays of it."""
    with config.new_client_from_config(str(api_server.kubeconfig)) as api:
        custom = client.CustomObjectsApi(api)

        def tried(body: dict[str, Any]) -> str:
            place = ("serinus.dev", "v1alpha1", NAMESPACE, f"{body['kind'].lower()}s", body["metadata"]["name"])
            how: dict[str, Any] = {"field_manager": "tests", "_content_type": "application/apply-patch+yaml"}
            try:
                custom.patch_namespaced_custom_object(*place, body, dry_run="All", **how)
            except ApiException as error:
                told = str(json.loads(error.body)["message"])
                if error.status >= 500 and "failed to create typed patch" not in told:  # how a wrong type is told
                    raise
                return told
            return ""

        yield tried


def test_the_files_are_what_the_code_makes(tmp_path: Path) -> None:
    main([str(tmp_path)])
    for made in tmp_path.iterdir():
        committed = KUBERNETES / "crds" / made.name
        assert made.read_text() == committed.read_text(), "python -m serinus.resources.crds deploy/kubernetes/crds"
    assert len(list(tmp_path.iterdir())) == len(crds()) == len(KINDS)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_taken_twice_and_changes_nothing(kube: Kubectl, file: Path) -> None:
    assert read_manifests(file.read_text(), file.name)
    versions = []
    for _ in range(2):
        done = kube("apply", "--server-side", "-f", str(file), "-o", "json")
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        versions.append([each["metadata"]["resourceVersion"] for each in told.get("items", [told])])
    assert versions[0] == versions[1]
    difference = kube("diff", "--server-side", "-f", str(file))
    assert (difference.returncode, difference.stdout) == (0, ""), difference.stderr


def test_there_is_an_example_for_every_field() -> None:
    shown: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for file in EXAMPLES:
        for body in yaml.safe_load_all(file.read_text()):
            schema = schema_of(crds()[body["kind"]])["properties"]["spec"]
            shown[body["kind"]] |= fields(schema, body["spec"])
    for kind, definition in crds().items():
        assert every(schema_of(definition)["properties"]["spec"]) - shown[kind] == set(), kind


def test_what_a_pool_leaves_out_is_filled_in(kube: Kubectl) -> None:
    done = kube("apply", "--server-side", "--dry-run=server", "-f", "-", "-o", "json", text=yaml.safe_dump(POOL))
    spec = json.loads(done.stdout)["spec"]
    (read,) = read_manifests(yaml.safe_dump(POOL), "it")
    assert spec["front_doors"] == {"min": 2, "max": 2}
    assert spec == read.spec.model_dump(exclude_none=True)
    assert kube("explain", "servingpool.spec.resources").returncode == 0


@pytest.mark.parametrize("change", REFUSED, ids=lambda change: f"{change.kind}-{change.path}")
def test_what_is_wrong_is_refused_by_both(try_it: Try, change: Change) -> None:
    text = yaml.safe_dump(changed(change))
    assert change.names in try_it(changed(change)), text
    with pytest.raises(BadInput) as refused:
        read_manifests(text, "it.yaml")
    last = change.path.removeprefix("spec.").split(".")[0]
    assert last in refused.value.detail or change.names in refused.value.detail


@pytest.mark.parametrize("change", ONLY_THE_OPERATOR, ids=lambda change: f"{change.path}-{change.value}")
def test_what_only_the_operator_refuses_is_told(try_it: Try, change: Change) -> None:
    text = yaml.safe_dump(changed(change))
    assert try_it(changed(change)) == ""
    with pytest.raises(BadInput):
        read_manifests(text, "it.yaml")


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_kubernetes_takes_the_words_take(try_it: Try, kind: str, data: st.DataObject) -> None:
    """But for what only the operator sees: tasks, slices and guards of these SLAs are right, as are time zones."""
    spec = data.draw(of_schema(schema_of(crds()[kind])["properties"]["spec"], KNOWN))
    body = {"apiVersion": "serinus.dev/v1alpha1", "kind": kind, "metadata": {"name": "it"}, "spec": spec}
    if not try_it(body):
        assert read_manifests(json.dumps(body), "it")


def test_the_spec_of_a_rollout_never_changes_its_labels_may(kube: Kubectl) -> None:
    first = copy.deepcopy(ROLLOUT)
    assert kube("apply", "--server-side", "-f", "-", text=yaml.safe_dump(first)).returncode == 0
    other = copy.deepcopy(first)
    other["spec"]["version"] = 3
    done = kube("apply", "--server-side", "-f", "-", text=yaml.safe_dump(other))
    assert done.returncode == 1
    assert "the spec of a rollout never changes" in done.stderr
    first["metadata"]["labels"] = {"team": "ads"}
    assert kube("apply", "--server-side", "-f", "-", text=yaml.safe_dump(first)).returncode == 0


def test_rollouts_read_like_a_dashboard(kube: Kubectl, tmp_path: Path) -> None:
    body = copy.deepcopy(ROLLOUT)
    body["metadata"]["name"] = "shown"
    assert kube("apply", "--server-side", "-f", "-", text=yaml.safe_dump(body)).returncode == 0
    status = {
        "id": "r1",
        "model_version": 2,
        "phase": "canary",
        "step": 1,
        "steps": 3,
        "canary": "1 %",
        "verdict": "inconclusive",
        "waiting_for": "labels of click",
        "violated": ["click / overall / auc"],
        "started_at": "2026-11-01T00:00:00Z",
    }
    done = kube("patch", "ro/shown", "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))
    assert done.returncode == 0, done.stderr
    heads, line = kube("get", "ro/shown").stdout.splitlines()
    assert " ".join(heads.split()) == "NAME MODEL VERSION PHASE STEP OF CANARY VERDICT VIOLATED AGE"
    assert " ".join(line.split()[:-1]) == "shown ads 2 canary 1 3 1 % inconclusive click / overall / auc"
    assert "labels of click" in kube("get", "rollouts/shown", "-o", "wide").stdout
    for name in ("serinus", "pool", "mtm", "ro"):
        assert kube(f"--cache-dir={tmp_path}", "get", name).returncode == 0, name


def test_a_status_has_its_own_form(kube: Kubectl) -> None:
    body = copy.deepcopy(MODEL)
    assert kube("apply", "--server-side", "-f", "-", text=yaml.safe_dump(body)).returncode == 0
    wrong = json.dumps({"status": {"conditions": [{"type": "Ready", "status": "Perhaps"}]}})
    done = kube("patch", "mtm/it", "--subresource=status", "--type=merge", "-p", wrong)
    assert done.returncode == 1
    assert "status.conditions[0].status" in done.stderr


def test_a_model_that_serves_is_not_deleted_by_a_slip(kube: Kubectl) -> None:
    body = copy.deepcopy(MODEL)
    for name in ("serves", "never-served", "retired"):
        body["metadata"] = {"name": name}
        assert kube("apply", "--server-side", "-f", "-", text=yaml.safe_dump(body)).returncode == 0
    for name in ("serves", "retired"):
        stable = json.dumps({"status": {"stable": 3}})
        assert kube("patch", f"mtm/{name}", "--subresource=status", "--type=merge", "-p", stable).returncode == 0
    end = time.monotonic() + 60
    while (refused := kube("delete", "mtm/serves", "--dry-run=server")).returncode == 0:  # until the rule is in force
        assert time.monotonic() < end
        time.sleep(0.1)
    assert "version 3 of serves serves; to delete it all the same" in refused.stderr
    assert kube("delete", "mtm/serves").returncode == 1
    assert kube("delete", "mtm/never-served").returncode == 0
    assert kube("annotate", "mtm/serves", "serinus.dev/retire=yes").returncode == 0
    assert kube("delete", "mtm/serves").returncode == 1
    assert kube("annotate", "mtm/serves", "serinus.dev/retire=true", "--overwrite").returncode == 0
    assert kube("delete", "mtm/serves").returncode == 0
    namespace = ("--as=system:serviceaccount:kube-system:namespace-controller", "--as-group=system:masters")
    assert kube("delete", "mtm/retired", *namespace).returncode == 0


def schema_of(definition: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def every(schema: dict[str, Any], path: str = "") -> set[str]:
    """The path of every field; `*` is any key, or any place of a list."""
    found = {path} if path else set()
    for name, inner in schema.get("properties", {}).items():
        found |= every(inner, f"{path}.{name}")
    for several in ("additionalProperties", "items"):
        if several in schema:
            found |= every(schema[several], f"{path}.*")
    return found


def fields(schema: dict[str, Any], value: Any, path: str = "") -> set[str]:
    """The paths of these that a value has."""
    found = {path} if path else set()
    if isinstance(value, dict):
        for name, inner in value.items():
            known = schema.get("properties", {}).get(name)
            found |= fields(known or schema["additionalProperties"], inner, f"{path}.{name if known else '*'}")
    if isinstance(value, list):
        for inner in value:
            found |= fields(schema["items"], inner, f"{path}.*")
    return found
