"""`compose.yaml`, read as compose reads it, and held against what it names: files, settings, services."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml
from compose_spec import PyOptions

from enricher.app import CLOSING_SECONDS
from enricher.settings.load import HttpSettings, WorkSettings, load
from enricher.simulator.server import Simulator, variables_for
from tests.support.roles import ROOT

Service: TypeAlias = dict[str, Any]
OURS = ("enricher", "simulator", "writer")
GIVEN = re.compile(r"\${(\w+):-(.*?)}")


def compose() -> dict[str, Any]:
    """Merged and checked against the specification; raises for a name or a value that it does not know."""
    options = PyOptions()
    options.apply_merge = True
    found = options.from_yaml((ROOT / "compose.yaml").read_text("utf-8"))
    found.validate()
    return found.to_dict()


def services() -> dict[str, Service]:
    found: dict[str, Service] = compose()["services"]
    return found


def demo_settings() -> dict[str, str]:
    lines = (ROOT / "deploy" / "demo.env").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def environment(given: dict[str, str]) -> dict[str, str]:
    """Of the daemon, when these variables are given to compose."""
    written = services()["enricher"]["environment"]
    return {
        name: GIVEN.sub(lambda found: given.get(found[1]) or found[2], value)
        for name, value in written.items()
    }


def mounts(service: Service) -> Iterator[tuple[str, str]]:
    for volume in service.get("volumes", ()):
        source, target = volume.split(":")[:2]
        yield source, target


def test_everything_that_is_named_is_there() -> None:
    volumes = set(compose()["volumes"])
    for name, service in services().items():
        needed = set(service.get("depends_on", ()))
        assert needed <= set(services()), name
        for source, _ in mounts(service):
            is_there = (ROOT / source).exists() if source.startswith(".") else source in volumes
            assert is_there, f"{name} mounts {source}"


def test_who_waits_for_a_healthy_service_waits_for_one_that_has_a_health_check() -> None:
    for name, service in services().items():
        needed = service.get("depends_on", {})
        how = needed if isinstance(needed, dict) else {}  # a list waits for a start alone
        healthy = [other for other in how if how[other]["condition"] == "service_healthy"]
        for other in healthy:
            assert "test" in services()[other]["healthcheck"], f"{name} waits for {other}"


def test_nothing_can_be_reached_from_another_machine() -> None:
    ports = [port for service in services().values() for port in service.get("ports", ())]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


@pytest.mark.parametrize("name", OURS)
def test_what_is_ours_may_do_nothing_and_writes_to_tmp_alone(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "volumes" not in service
    assert service["build"] == ".", "or compose looks for the image elsewhere before it builds it"


def test_the_daemon_has_time_to_drain() -> None:
    longest = WorkSettings().shutdown_grace_seconds + CLOSING_SECONDS
    assert float(services()["enricher"]["stop_grace_period"].removesuffix("s")) > longest


def test_without_any_key_the_daemon_starts_with_its_defaults_and_finds_its_mongodb() -> None:
    settings = load(environment({}), None)
    assert settings.mongo.uri is not None
    assert [v.key for v in settings.vendors.values()] == [None] * len(settings.vendors)
    member = services()["mongodb"]["environment"]["MEMBER"]
    assert settings.mongo.uri.get_secret_value() == f"mongodb://{member}/?replicaSet=rs0"
    assert services()["writer"]["environment"]["MONGODB_URI"] == environment({})["MONGODB_URI"]


@pytest.mark.parametrize(("given", "file"), [({}, ".env"), (demo_settings(), "deploy/demo.env")])
def test_a_setting_that_compose_does_not_name_reaches_the_daemon_from_the_file(
    given: dict[str, str], file: str
) -> None:
    """A budget that is passed over in silence is a bill."""
    [settings] = services()["enricher"]["env_file"]
    assert settings["required"] is False
    path = GIVEN.sub(lambda found: given.get(found[1]) or found[2], settings["path"])
    assert path == file
    assert (ROOT / path).exists() or not given


async def test_the_demo_asks_the_simulator_for_everything_and_costs_nothing() -> None:
    command = services()["simulator"]["command"]
    port = command[command.index("--port") + 1]
    async with Simulator() as simulator:
        wanted = {
            name: value.replace(simulator.url, f"http://simulator:{port}")
            for name, value in variables_for(simulator).items()
        }
    assert demo_settings() == {"SETTINGS": "deploy/demo.env"} | wanted
    assert wanted.items() <= environment(demo_settings()).items()
    profiles = {name: service.get("profiles") for name, service in services().items()}
    assert {name for name, p in profiles.items() if p == ["demo"]} == {"simulator", "writer"}


def test_the_set_is_initiated_under_the_name_that_everybody_asks_for() -> None:
    script = Path(ROOT, "deploy", "mongodb", "replica-set.js").read_text("utf-8")
    mongodb = services()["mongodb"]
    name = mongodb["command"][mongodb["command"].index("--replSet") + 1]
    assert f'_id: "{name}"' in script
    assert (
        dict(mounts(mongodb))["./deploy/mongodb/replica-set.js"] in mongodb["healthcheck"]["test"]
    )


def test_prometheus_takes_its_configuration_and_asks_every_daemon(promtool: str) -> None:
    command = services()["prometheus"]["command"]
    [named] = [word.partition("=")[2] for word in command if word.startswith("--config.file=")]
    directory = next(
        s for s, target in mounts(services()["prometheus"]) if named.startswith(target)
    )
    file = ROOT / directory / Path(named).name
    ran = subprocess.run(
        [promtool, "check", "config", str(file)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    [job] = yaml.safe_load(file.read_text("utf-8"))["scrape_configs"]
    [example] = yaml.safe_load((file.parent / "prometheus.yml").read_text())["scrape_configs"]
    assert job["job_name"] == example["job_name"], "the rules and the dashboards rely on it"
    [found] = job["dns_sd_configs"]
    assert set(found["names"]) == {"enricher"}
    assert found["port"] == HttpSettings().port


def test_alertmanager_is_where_prometheus_looks_and_takes_the_addresses_it_is_given() -> None:
    service = services()["alertmanager"]
    at = {target: ROOT / source for source, target in mounts(service)}
    [command] = service["command"]
    [script] = re.findall(r"sh (/etc/alertmanager/\S+)", command)
    filler = at["/etc/alertmanager"] / Path(script).name
    made = subprocess.run(
        ["sh", str(filler)],
        env={"PATH": os.environ["PATH"]} | {name: f"http://{name}/" for name in _addresses()},
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stderr == ""
    receivers = yaml.safe_load(made.stdout)["receivers"]
    assert {f"http://ALERTS_{each['name'].upper()}_URL/" for each in receivers} == {
        each["webhook_configs"][0]["url"] for each in receivers
    }
    told = yaml.safe_load((ROOT / "deploy/prometheus/compose.yml").read_text("utf-8"))["alerting"]
    assert told["alertmanagers"] == [{"static_configs": [{"targets": ["alertmanager:9093"]}]}]


def _addresses() -> set[str]:
    """Those that compose passes on, under the names that it finds them by."""
    given = services()["alertmanager"]["environment"]
    assert given == {name: f"${{{name}:-}}" for name in given}
    return set(given)


def test_grafana_finds_prometheus_and_the_dashboards_where_they_are_mounted() -> None:
    grafana = services()["grafana"]
    at = {target: ROOT / source for source, target in mounts(grafana) if source.startswith(".")}
    provisioning = at["/etc/grafana/provisioning"]
    for file in provisioning.glob("dashboards/*.yml"):
        for provider in yaml.safe_load(file.read_text("utf-8"))["providers"]:
            assert list(at[provider["options"]["path"]].glob("*.json"))
    wanted = {
        name
        for file in provisioning.rglob("*.yml")
        for name in re.findall(r"\${(\w+)}", file.read_text("utf-8"))
    }
    assert wanted <= set(grafana["environment"])
    assert grafana["environment"]["PROMETHEUS_URL"] == "http://prometheus:9090"
