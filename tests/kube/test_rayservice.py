"""A pool as a RayService: what the pods rest on, and that nothing else moves it."""

from __future__ import annotations

import lzma
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from controller.operator.pool import Pool, Redis
from controller.operator.pool_environment import TUNED, environment
from controller.operator.rayservice import objects, ray_service, service
from serinus.errors import BadInput
from serving import environment as one_machine
from serving.app import application
from serving.on_ray import checked
from tests.kube.overlays import KUBERNETES, kubectl

POOL = Pool("ads", "serinus", "serinus.local/serinus:dev", "http://serinus-controller", "serinus-log")
REDIS = Redis("redis:6379", "serinus-redis")
CRDS = Path(__file__).parents[3] / "shared" / "kube" / "bin" / "kuberay-crds.yaml.xz"
RANGES = st.tuples(st.integers(1, 8), st.integers(0, 8)).map(lambda drawn: (drawn[0], drawn[0] + drawn[1]))


def groups(pool: Pool) -> dict[str, dict[str, Any]]:
    """Worker groups by name, and the head."""
    cluster = ray_service(pool)["spec"]["rayClusterConfig"]
    return {"head": cluster["headGroupSpec"], **{each["groupName"]: each for each in cluster["workerGroupSpecs"]}}


def container(group: dict[str, Any]) -> dict[str, Any]:
    (only,) = group["template"]["spec"]["containers"]
    return dict(only)


def variables(group: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container(group)["env"]}


def test_the_settings_of_ray_are_those_of_one_machine(tmp_path: Path) -> None:
    env: dict[str, str] = {}
    one_machine.prepare(env, tmp_path)
    own = ("_PORT", "_PATH", "_LOC", "_BASE", "_FILE", "MAXCONN", "AUTH_MODE")  # ports, sockets, the binary, the token
    callback = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
    same = {name for name in env if name.startswith(("RAY_", "OMP_")) and (name == callback or not name.endswith(own))}
    assert {name: env[name] for name in same} == TUNED


@given(RANGES, RANGES, st.booleans())
def test_serving_takes_its_environment(front: tuple[int, int], candidates: tuple[int, int], grpc: bool) -> None:
    pool = replace(POOL, front_doors=front, candidates=candidates, grpc=grpc, settings={"cache_ms": 7})
    for group in groups(pool).values():
        settings = checked(variables(group))
        assert (settings.front_doors, settings.candidates, settings.cache_ms) == (front, candidates, 7)
        assert (settings.pool, settings.api, settings.grpc_port) == ("ads", POOL.api, 9000 if grpc else 0)


@given(RANGES, RANGES)
def test_there_is_a_pod_for_each_replica_that_serving_may_start(
    front: tuple[int, int], candidates: tuple[int, int]
) -> None:
    pool = replace(POOL, front_doors=front, candidates=candidates)
    found = groups(pool)
    for role, (least, most) in {"front-door": front, "candidate": candidates, "shadow": (1, 1)}.items():
        assert (found[role]["minReplicas"], found[role]["maxReplicas"]) == (least, most)
        assert found[role]["resources"] == {"CPU": "1", role.replace("-", "_"): "1"}
    grows = front[0] < front[1] or candidates[0] < candidates[1]
    assert ray_service(pool)["spec"]["rayClusterConfig"].get("enableInTreeAutoscaling", False) is grows


@pytest.mark.parametrize("name", ["home", "api", "pool", "token_file", "http_port"])
def test_a_setting_by_name_moves_nothing_that_is_fixed(name: str) -> None:
    fixed = environment(POOL)[f"SERINUS_{name.upper()}"]
    assert environment(replace(POOL, settings={name: "elsewhere"}))[f"SERINUS_{name.upper()}"] == fixed


def test_spread_replicas_ask_for_what_only_pods_of_their_role_have() -> None:
    front = application(checked(environment(POOL)), spread=True)
    _settings, candidate, shadow = front._bound_deployment.init_args
    for role, bound in (("front-door", front), ("candidate", candidate), ("shadow", shadow)):
        asked = bound._bound_deployment.ray_actor_options["resources"]
        given = {name: float(amount) for name, amount in groups(POOL)[role]["resources"].items()}
        assert asked == {name: amount for name, amount in given.items() if name != "CPU"}
        others = [group.get("resources", {}) for name, group in groups(POOL).items() if name != role]
        assert not any(asked.keys() & other.keys() for other in others)


@pytest.mark.parametrize("name", ["RAY_SERVE_ENABLE_HA_PROXY", "RAY_SERVE_THROUGHPUT_OPTIMIZED", "SERINUS_API",
                                  "SERINUS_POOL", "SERINUS_LOG", "SERINUS_TOKEN_FILE"])  # fmt: skip
def test_what_pods_need_is_asked_for_by_name(name: str) -> None:
    env = environment(POOL)
    del env[name]
    with pytest.raises(BadInput, match=name):
        checked(env)


def test_every_pod_is_restricted_and_writes_only_to_volumes() -> None:
    for role, group in groups(POOL).items():
        spec = group["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"], role
        assert not spec["automountServiceAccountToken"], role
        assert container(group)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        mounted = {each["name"]: each["mountPath"] for each in container(group)["volumeMounts"]}
        assert {each["name"] for each in spec["volumes"]} == set(mounted)
        written = {variables(group)[name] for name in ("HOME", "SERINUS_HOME", "SERINUS_LOG")} | {"/tmp"}
        assert written <= set(mounted.values()), role


def test_only_a_head_that_scales_may_ask_kubernetes() -> None:
    for pool, head in ((POOL, False), (replace(POOL, front_doors=(1, 3)), True)):
        specs = {role: group["template"]["spec"] for role, group in groups(pool).items()}
        asks = {role for role, spec in specs.items() if spec["automountServiceAccountToken"]}
        assert asks == ({"head"} if head else set())
        assert all("serviceAccountName" in spec for spec in specs.values()) is not head


def test_shadows_and_candidates_give_way_to_front_doors() -> None:
    told = yaml.safe_load_all((KUBERNETES / "base" / "priorities.yaml").read_text())
    value = {each["metadata"]["name"]: each["value"] for each in told}
    by_role = {role: value[group["template"]["spec"]["priorityClassName"]] for role, group in groups(POOL).items()}
    assert max(by_role["candidate"], by_role["shadow"]) < 0 < min(by_role["front-door"], by_role["head"])


def test_the_service_has_front_doors_of_any_ray_cluster_of_this_pool() -> None:
    chosen = service(POOL)["spec"]["selector"]
    ready = {"ray.io/serve": "true"}  # KubeRay's, on pods that serve
    takes = {
        role: chosen.items() <= {**group["template"]["metadata"]["labels"], **ready}.items()
        for role, group in groups(POOL).items()
    }
    assert takes == {"head": False, "front-door": True, "candidate": False, "shadow": False}
    other = groups(replace(POOL, name="other"))["front-door"]["template"]["metadata"]["labels"]
    assert not chosen.items() <= {**other, **ready}.items()
    assert not any(name.startswith("ray.io/cluster") for name in chosen)


def test_redis_is_there_when_given_and_its_password_is_in_no_object() -> None:
    assert "gcsFaultToleranceOptions" not in ray_service(POOL)["spec"]["rayClusterConfig"]
    told = ray_service(replace(POOL, redis=REDIS))["spec"]["rayClusterConfig"]["gcsFaultToleranceOptions"]
    assert told["redisAddress"] == "redis:6379"
    assert set(told["redisPassword"]) == {"valueFrom"}


def test_grpc_is_there_only_when_asked_for() -> None:
    assert [port["port"] for port in service(POOL)["spec"]["ports"]] == [8000]
    assert [port["port"] for port in service(replace(POOL, grpc=True))["spec"]["ports"]] == [8000, 9000]
    assert variables(groups(POOL)["front-door"])["SERINUS_GRPC_BIND"] == "127.0.0.1"


@pytest.fixture(scope="module")
def with_kuberay(api_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The API server, once it knows KubeRay's resources."""
    if not CRDS.is_file():
        pytest.skip(f"no resource definitions of KubeRay: {CRDS} is not there")
    path = tmp_path_factory.mktemp("kuberay") / "crds.yaml"
    path.write_bytes(lzma.decompress(CRDS.read_bytes()))
    binary, deadline = api_server.binaries / "kubectl", time.monotonic() + 60
    done = kubectl(binary, api_server.kubeconfig, "apply", "--server-side", "--force-conflicts", "-f", str(path))
    assert done.returncode == 0, done.stderr
    while kubectl(binary, api_server.kubeconfig, "get", "rayservices", "-A").returncode:
        assert time.monotonic() < deadline, "rayservices are not served"
        time.sleep(0.2)
    return api_server


def dry_run(server: Any, each: dict[str, Any]) -> str:
    """What a real API server says against an object, unknown fields too; "" when it takes it."""
    told = {**each, "metadata": {**each["metadata"], "namespace": "default"}}
    strict = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-")
    done = kubectl(server.binaries / "kubectl", server.kubeconfig, *strict, text=yaml.safe_dump(told))
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize(
    "pool", [POOL, replace(POOL, front_doors=(1, 3), grpc=True, redis=REDIS, service_type="NodePort", node_port=32080)]
)
def test_an_api_server_that_knows_kuberay_takes_it(with_kuberay: Any, pool: Pool) -> None:
    assert [dry_run(with_kuberay, each) for each in objects(pool)] == ["", ""]


def test_the_api_server_names_a_field_that_kuberay_does_not_have(with_kuberay: Any) -> None:
    wrong = ray_service(POOL)
    wrong["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"][0]["envs"] = []
    assert "envs" in dry_run(with_kuberay, wrong)
