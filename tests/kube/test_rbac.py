"""Who may do what in the cluster, asked of a real API server: what each account needs, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client

from tests.kube.installed import Installed, install

Deed = tuple[str, str, str, str]
"""Group, resource (with `/status` where it is that), verb and name ("": any)."""

WORDS = ("servingpools", "multitaskmodels", "rollouts")
MADE = (("ray.io", "rayservices"), ("", "services"))
FIRST = (
    *(f"serinus-{role}-token" for role in ("admin", "operator", "monitor", "replica", "viewer", "replay", "ray")),
    "serinus-controller-tokens",
)

NEEDS: dict[str, set[Deed]] = {
    "serinus-operator": {
        *(("serinus.dev", word, verb, "") for word in WORDS for verb in ("get", "list", "watch", "patch")),
        *(("serinus.dev", f"{word}/status", verb, "") for word in WORDS for verb in ("get", "patch")),
        *((*made, verb, "") for made in MADE for verb in ("get", "list", "watch", "create", "patch", "delete")),
        *(("ray.io", "rayclusters", verb, "") for verb in ("get", "list")),
        *((group, "events", verb, "") for group in ("", "events.k8s.io") for verb in ("create", "patch")),
        ("coordination.k8s.io", "leases", "create", ""),
        *(("coordination.k8s.io", "leases", verb, "serinus-operator") for verb in ("get", "update", "patch")),
    },
    "serinus-controller": set(),
    "serinus-monitor": set(),
    "serinus-pool": set(),
    "serinus-first-tokens": {
        ("", "secrets", "create", ""),
        *(("", "secrets", verb, name) for verb in ("get", "patch") for name in FIRST),
    },
}

TEMPTING: set[Deed] = {
    *(("", "secrets", verb, "") for verb in ("get", "list", "watch", "delete", "update")),
    ("", "secrets", "get", "serinus-database"),
    *(("", "pods", verb, "") for verb in ("get", "list", "create", "delete")),
    *(("", f"pods/{what}", "create", "") for what in ("exec", "attach", "portforward")),
    ("", "serviceaccounts/token", "create", "serinus-operator"),
    ("", "serviceaccounts", "impersonate", ""),
    *(("", "configmaps", verb, "") for verb in ("get", "update", "delete")),
    ("", "namespaces", "delete", "serinus"),
    ("", "nodes", "list", ""),
    *(("apps", "deployments", verb, "") for verb in ("get", "patch", "create", "delete")),
    ("batch", "jobs", "create", ""),
    *(
        ("rbac.authorization.k8s.io", what, verb, "")
        for what in ("roles", "rolebindings")
        for verb in ("create", "bind")
    ),
    ("rbac.authorization.k8s.io", "roles", "escalate", ""),
    ("apiextensions.k8s.io", "customresourcedefinitions", "patch", ""),
    ("coordination.k8s.io", "leases", "update", "another"),
    ("serinus.dev", "rollouts", "create", ""),
    ("serinus.dev", "rollouts", "delete", ""),
    ("ray.io", "rayclusters", "delete", ""),
}


@pytest.fixture(scope="module")
def installed(api_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    with install(api_server, tmp_path_factory.mktemp("overlays")) as found:
        yield found


def allowed(installed: Installed, account: str, deed: Deed, namespace: str) -> bool:
    group, resource, verb, name = deed
    resource, _, sub = resource.partition("/")
    what = client.V1ResourceAttributes(
        group=group, resource=resource, subresource=sub, verb=verb, name=name, namespace=namespace
    )
    user = f"system:serviceaccount:{installed.namespaces['dev']}:{account}"
    asked = client.V1SubjectAccessReview(spec=client.V1SubjectAccessReviewSpec(user=user, resource_attributes=what))
    review = client.AuthorizationV1Api(installed.api).create_subject_access_review(asked)
    return bool(review.status.allowed)


@pytest.mark.parametrize("account", NEEDS)
def test_an_account_may_do_what_it_needs_and_nothing_tempting(installed: Installed, account: str) -> None:
    namespace, needs = installed.namespaces["dev"], NEEDS[account]
    assert {deed for deed in needs if not allowed(installed, account, deed, namespace)} == set()
    covered = {deed[:3] for deed in needs if not deed[3]}
    tempting = {deed for deed in TEMPTING if deed[:3] not in covered}
    assert {deed for deed in tempting if allowed(installed, account, deed, namespace)} == set()


@pytest.mark.parametrize("account", NEEDS)
def test_an_account_has_no_rule_that_it_does_not_need(installed: Installed, account: str) -> None:
    assert rules(installed, account, installed.namespaces["dev"]) == NEEDS[account]


@pytest.mark.parametrize("account", NEEDS)
def test_an_account_may_do_nothing_elsewhere(installed: Installed, account: str) -> None:
    assert {deed for deed in NEEDS[account] | TEMPTING if allowed(installed, account, deed, "default")} == set()


def rules(installed: Installed, account: str, namespace: str) -> set[Deed]:
    """Every rule for this account, without what Kubernetes lets everybody do (ask about itself)."""
    body = client.V1SelfSubjectRulesReview(spec=client.V1SelfSubjectRulesReviewSpec(namespace=namespace))
    found: set[Deed] = set()
    review = as_account(installed, account).create_self_subject_rules_review(body)
    for rule in review.status.resource_rules:
        for group in rule.api_groups or ("",):
            for resource in rule.resources or ():
                for verb in rule.verbs:
                    found |= {(group, resource, verb, name) for name in rule.resource_names or ("",)}
    return {deed for deed in found if deed[0] not in ("authorization.k8s.io", "authentication.k8s.io")}


def as_account(installed: Installed, account: str) -> client.AuthorizationV1Api:
    namespace = installed.namespaces["dev"]
    api = client.ApiClient(installed.api.configuration)
    api.set_default_header("Impersonate-User", f"system:serviceaccount:{namespace}:{account}")
    api.set_default_header("Impersonate-Group", "system:authenticated")
    return client.AuthorizationV1Api(api)


def test_who_may_view_or_edit_a_namespace_may_do_so_with_its_models(installed: Installed) -> None:
    """The roles of people are added to Kubernetes' own by their labels; that is done by a controller of Kubernetes, so
    what stands here is that they are labelled for it, and what they hold."""
    roles = client.RbacAuthorizationV1Api(installed.api)
    view, edit = roles.read_cluster_role("serinus-view"), roles.read_cluster_role("serinus-edit")
    assert {verb for rule in view.rules for verb in rule.verbs} == {"get", "list", "watch"}
    assert {verb for rule in edit.rules for verb in rule.verbs} == {"create", "update", "patch", "delete"}
    for role, names in ((view, ("view", "edit", "admin")), (edit, ("edit", "admin"))):
        assert set(role.metadata.labels) == {f"rbac.authorization.k8s.io/aggregate-to-{name}" for name in names}
        assert {group for rule in role.rules for group in rule.api_groups} == {"serinus.dev"}
        assert {resource for rule in role.rules for resource in rule.resources} == set(WORDS)
