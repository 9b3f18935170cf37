"""The manifests against a real API server: all are taken as they are, and none asks for more than it should."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from tests.kube.installed import RESTRICTED, Installed, install
from tests.kube.overlays import OVERLAYS, pod_templates, rendered

ALL = (*OVERLAYS, "retrain", "restore")


@pytest.fixture(scope="module")
def installed(api_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    with install(api_server, tmp_path_factory.mktemp("overlays")) as found:
        yield found


@pytest.mark.parametrize("name", OVERLAYS)
def test_applied_twice_nothing_changes(installed: Installed, name: str) -> None:
    folder = installed.folders[name]
    again = installed.kubectl("apply", "--server-side", "-k", str(folder))
    assert again.returncode == 0, again.stderr
    before = installed.versions(name)
    assert installed.kubectl("apply", "--server-side", "-k", str(folder)).returncode == 0
    assert installed.versions(name) == before
    difference = installed.kubectl("diff", "--server-side", "-k", str(folder))
    assert (difference.returncode, difference.stdout) == (0, ""), difference.stderr


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_namespace_lets_in_only_restricted_pods(installed: Installed, name: str) -> None:
    labels = client.CoreV1Api(installed.api).read_namespace(installed.namespaces[name]).metadata.labels
    assert labels.items() >= RESTRICTED.items()
    bad = pod("bad", {"serviceAccountName": "serinus-monitor", "containers": [{"name": "it", "image": "it"}]}, {})
    with pytest.raises(ApiException) as refused:
        dry_run(installed, installed.namespaces[name], bad)
    assert refused.value.status == 403
    assert "runAsNonRoot" in refused.value.body


def test_restricted_takes_every_pod(installed: Installed) -> None:
    for name, folder in installed.all_folders().items():
        for _, template in pod_templates(rendered(installed.binary, folder)):
            body = pod(name, copy.deepcopy(template["spec"]), template["metadata"]["labels"])
            body["spec"].pop("serviceAccountName")
            dry_run(installed, installed.pods, body)  # without its account, quota and limits: those of its pods


@pytest.mark.parametrize("name", ALL)
def test_no_container_is_root_writes_its_image_or_is_without_bounds(installed: Installed, name: str) -> None:
    found = list(pod_templates(rendered(installed.binary, installed.all_folders()[name])))
    assert found
    for where, template in found:
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"], where
        assert spec["securityContext"]["runAsUser"] > 0, where
        assert spec["automountServiceAccountToken"] is (spec["serviceAccountName"] in WITH_TOKEN), where
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert container["securityContext"]["readOnlyRootFilesystem"], where
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, where
            assert not container["securityContext"]["allowPrivilegeEscalation"], where
            for bound in ("requests", "limits"):
                assert container["resources"][bound].keys() == {"cpu", "memory"}, where
        assert not any({"hostPath", "nfs"} & volume.keys() for volume in spec["volumes"]), where
        if where.startswith("Deployment/"):
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                assert probe in spec["containers"][0], where


WITH_TOKEN = {"serinus-operator", "serinus-first-tokens"}
"""The accounts of pods that talk to Kubernetes."""


@pytest.mark.parametrize("name", ALL)
def test_secrets_come_as_files(installed: Installed, name: str) -> None:
    for where, template in pod_templates(rendered(installed.binary, installed.all_folders()[name])):
        spec = template["spec"]
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert not any("secretRef" in each for each in container.get("envFrom", [])), where
            assert not any("secretKeyRef" in each.get("valueFrom", {}) for each in container.get("env", [])), where
        for volume in spec["volumes"]:
            assert volume.get("secret", {"defaultMode": 0o440})["defaultMode"] == 0o440, where
    assert not [each for each in rendered(installed.binary, installed.all_folders()[name]) if each["kind"] == "Secret"]


def test_every_secret_that_production_mounts_is_in_its_example(installed: Installed) -> None:
    example = yaml.safe_load_all((OVERLAYS["production"] / "secrets.example.yaml").read_text())
    named = {each["metadata"]["name"] for each in example}
    mounted = {
        volume["secret"]["secretName"]
        for _, template in pod_templates(rendered(installed.binary, installed.folders["production"]))
        for volume in template["spec"]["volumes"]
        if "secret" in volume
    }
    assert mounted
    assert mounted <= named


def test_production_runs_two_of_what_decides_and_spreads_them(installed: Installed) -> None:
    objects = {(each["kind"], each["metadata"]["name"]): each for each in rendered_production(installed)}
    for name in ("serinus-controller", "serinus-operator"):
        deployment = objects["Deployment", name]["spec"]
        assert deployment["replicas"] == 2
        assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
        assert len(deployment["template"]["spec"]["topologySpreadConstraints"]) == 2
        budget = objects["PodDisruptionBudget", name]["spec"]
        assert budget["selector"] == deployment["selector"]
    ingress = objects["Ingress", "serinus-controller"]["spec"]
    assert {host for tls in ingress["tls"] for host in tls["hosts"]} == {rule["host"] for rule in ingress["rules"]}
    assert objects["NetworkPolicy", "nothing-else"]["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }


def rendered_production(installed: Installed) -> list[dict[str, Any]]:
    return rendered(installed.binary, installed.folders["production"])


def pod(name: str, spec: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    spec.setdefault("restartPolicy", "Always")
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def dry_run(installed: Installed, namespace: str, body: dict[str, Any]) -> None:
    client.CoreV1Api(installed.api).create_namespaced_pod(namespace, body, dry_run="All")
