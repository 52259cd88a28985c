"""The manifests for Kubernetes, against the schemas of Kubernetes and of the two operators.

A cluster ignores a field that it does not know, so a mistyped one would turn off what it stands for
without a word: here it fails.
"""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
from typing import Any, TypeAlias

import kubernetes_validate
import pytest
import yaml

from enricher.app import CLOSING_SECONDS
from enricher.settings.load import WorkSettings, documented
from enricher.telemetry import metrics
from tests.support.roles import ROOT

HERE = ROOT / "deploy" / "kubernetes"
KUBERNETES = "1.34"
OPERATORS = {
    "ScaledObject": "cloudcoil.models.keda.v1alpha1",
    "ServiceMonitor": "cloudcoil.models.prometheus_operator.v1",
    "PrometheusRule": "cloudcoil.models.prometheus_operator.v1",
    "AlertmanagerConfig": "cloudcoil.models.prometheus_operator.v1alpha1",
}
"""Where the models of the operators' kinds are. They are large: two seconds of CPU to import."""
COPIED = [ROOT / "deploy" / "prometheus" / f"{name}.yml" for name in ("recording", "alerts")]

Manifest: TypeAlias = dict[str, Any]


def manifests(pattern: str = "*/*.yaml") -> dict[str, Manifest]:
    """By file, without the instructions for kustomize."""
    files = sorted(HERE.glob(pattern))
    return {
        str(file.relative_to(HERE)): manifest
        for file in files
        if file.name != "kustomization.yaml"
        for manifest in yaml.safe_load_all(file.read_text("utf-8"))
    }


def as_read(manifest: Manifest) -> Manifest:
    """By an operator: without what it does not know. Raises for what it cannot understand."""
    kind = manifest["kind"]
    model = getattr(importlib.import_module(OPERATORS[kind]), kind)
    read: Manifest = model.model_validate(manifest).model_dump(
        by_alias=True, exclude_unset=True, mode="json"
    )
    return read


def deployment() -> Manifest:
    return manifests()["base/deployment.yaml"]


def pod() -> Manifest:
    found: Manifest = deployment()["spec"]["template"]["spec"]
    return found


def container() -> Manifest:
    [found] = pod()["containers"]
    return dict(found)


@pytest.mark.parametrize("file", manifests())
def test_a_manifest_says_nothing_that_its_schema_does_not_know(file: str) -> None:
    manifest = manifests()[file]
    if manifest["kind"] in OPERATORS:
        assert as_read(manifest) == manifest
    else:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_a_mistyped_field_would_be_found() -> None:
    """That of the test before: schemas that let everything pass would let it pass too."""
    wrong = deployment()
    wrong["spec"]["template"]["spec"]["terminationGracePeriod"] = 40
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)
    scaled = manifests()["keda/scaledobject.yaml"]
    scaled["spec"]["maxReplicas"] = 5
    assert as_read(scaled) != scaled


def test_the_pod_is_one_that_a_restricted_namespace_takes_and_writes_to_tmp_alone() -> None:
    secure = container()["securityContext"]
    assert secure["allowPrivilegeEscalation"] is False
    assert secure["capabilities"] == {"drop": ["ALL"]}
    assert secure["runAsNonRoot"] is True
    assert secure["seccompProfile"] == {"type": "RuntimeDefault"}
    assert secure["readOnlyRootFilesystem"] is True
    assert pod()["securityContext"]["runAsUser"] > 0
    writable = {m["name"] for m in container()["volumeMounts"] if not m.get("readOnly")}
    assert writable == {v["name"] for v in pod()["volumes"] if "emptyDir" in v}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod())


def test_it_has_time_to_drain() -> None:
    longest = WorkSettings().shutdown_grace_seconds + CLOSING_SECONDS
    assert pod()["terminationGracePeriodSeconds"] > longest


def test_a_restart_is_for_a_loop_that_stands_still_and_never_for_a_database_that_is_away() -> None:
    probes = {
        name: container()[name]["httpGet"]
        for name in ("livenessProbe", "readinessProbe", "startupProbe")
    }
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "livenessProbe": "/livez",
        "readinessProbe": "/readyz",
        "startupProbe": "/livez",
    }
    assert {probe["port"] for probe in probes.values()} == {"http"}


def test_everything_that_selects_pods_selects_these() -> None:
    labels = deployment()["spec"]["template"]["metadata"]["labels"]
    found = manifests()
    selectors = [
        deployment()["spec"]["selector"]["matchLabels"],
        found["base/service.yaml"]["spec"]["selector"],
        found["base/networkpolicy.yaml"]["spec"]["podSelector"]["matchLabels"],
        found["base/poddisruptionbudget.yaml"]["spec"]["selector"]["matchLabels"],
        found["prometheus-operator/servicemonitor.yaml"]["spec"]["selector"]["matchLabels"],
    ]
    assert selectors == [labels] * len(selectors)
    target = found["keda/scaledobject.yaml"]["spec"]["scaleTargetRef"]["name"]
    assert target == deployment()["metadata"]["name"]


def test_every_port_is_called_by_the_name_that_the_container_gives_it() -> None:
    names = {port["name"] for port in container()["ports"]}
    found = manifests()
    [served] = found["base/service.yaml"]["spec"]["ports"]
    [scraped] = found["prometheus-operator/servicemonitor.yaml"]["spec"]["endpoints"]
    [rule] = found["base/networkpolicy.yaml"]["spec"]["ingress"]
    assert {served["targetPort"], rule["ports"][0]["port"]} <= names
    assert scraped["port"] == served["name"]


def test_the_secret_is_mounted_where_it_is_looked_for_and_its_keys_are_settings() -> None:
    [place] = [entry["value"] for entry in container()["env"]]
    mounts = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}
    secrets = {v["name"]: v["secret"]["secretName"] for v in pod()["volumes"] if v.get("secret")}
    example = manifests()["base/secret.example.yaml"]
    assert {mounts[name]: secret for name, secret in secrets.items()} == {
        place: example["metadata"]["name"]
    }
    assert set(example["stringData"]) <= {name for name, _, _ in documented()}


def test_the_number_of_daemons_follows_a_series_that_there_is() -> None:
    [trigger] = manifests()["keda/scaledobject.yaml"]["spec"]["triggers"]
    named = [
        family.name
        for family in metrics.REGISTRY.collect()
        if family.name in trigger["metadata"]["query"]
    ]
    assert named == ["enricher_oldest_pending_age_seconds"]


@pytest.mark.parametrize("file", COPIED, ids=lambda path: path.name)
def test_the_rules_of_the_operator_are_those_of_the_files(file: Any) -> None:
    """`make manifests` makes them so."""
    copy = manifests()[f"prometheus-operator/{file.stem}.yaml"]
    assert copy["spec"] == yaml.safe_load(file.read_text("utf-8"))
    listed = yaml.safe_load((HERE / "prometheus-operator" / "kustomization.yaml").read_text())
    assert f"{file.stem}.yaml" in listed["resources"]


def test_the_routes_of_the_operator_are_those_of_the_file() -> None:
    file = yaml.safe_load(
        (ROOT / "deploy" / "alertmanager" / "alertmanager.yml").read_text("utf-8")
    )
    spec = manifests()["alertmanager/alertmanagerconfig.yaml"]["spec"]
    assert _as_in_a_file(spec["route"]) == file["route"]
    assert [_as_in_a_file(rule) for rule in spec["inhibitRules"]] == file["inhibit_rules"]
    assert [each["name"] for each in spec["receivers"]] == [r["name"] for r in file["receivers"]]


def _as_in_a_file(value: Any) -> Any:
    """What the operator spells its own way, as Alertmanager's own file has it."""
    if isinstance(value, list):
        return [_as_in_a_file(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"name", "matchType", "value"}:
        return f'{value["name"]}{value["matchType"]}"{value["value"]}"'
    words = {name: re.sub(r"(Match)$", r"\1ers", name) for name in value}
    return {
        re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", words[name]): _as_in_a_file(each)
        for name, each in value.items()
    }


def test_each_receiver_has_its_address_from_the_secret_and_hears_of_the_end() -> None:
    secret = manifests()["alertmanager/secret.example.yaml"]
    spec = manifests()["alertmanager/alertmanagerconfig.yaml"]["spec"]
    for receiver in spec["receivers"]:
        [webhook] = receiver["webhookConfigs"]
        assert webhook["sendResolved"] is True
        assert webhook["urlSecret"]["name"] == secret["metadata"]["name"]
        address = secret["stringData"][webhook["urlSecret"]["key"]]
        assert address == f"https://alerts.example.com/{receiver['name']}"


class _Rendered(yaml.SafeLoader):
    """Reads `=` without quotes, as kubectl writes it, as a text."""


_Rendered.add_constructor("tag:yaml.org,2002:value", lambda _, node: str(node.value))


@pytest.mark.skipif(not shutil.which("kubectl"), reason="there is no kubectl")
def test_the_example_renders_to_everything_in_one_namespace() -> None:
    command = ["kubectl", "kustomize", str(HERE / "example")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    rendered = list(yaml.load_all(ran.stdout, _Rendered))
    written = [m for name, m in manifests().items() if not name.endswith(".example.yaml")]
    assert sorted(m["kind"] for m in rendered) == sorted(m["kind"] for m in written)
    places = {m["metadata"].get("namespace") for m in rendered if m["kind"] != "Namespace"}
    assert places == {"enricher"}
    [made] = [m for m in rendered if m["kind"] == "Deployment"]
    assert "replicas" not in made["spec"], "KEDA says how many"
    assert made["spec"]["template"]["spec"]["containers"][0]["image"] != "enricher"
