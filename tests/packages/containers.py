"""Images and containers of a test run of its own, with Debian's buildah and podman and without an engine.

The base is made from Debian's packages, so that no registry of images is needed. Nothing of the machine
gets into the image: how it reaches the package index (a certificate, a configuration of pip) is
mounted while the image is built.
"""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.roles import ROOT

TOOLS = ("buildah", "podman", "debootstrap", "runc")
BASE, IMAGE = "localhost/base", "localhost/enricher"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
MACHINE = "localhost/machine"
_MACHINE = f"""
FROM {IMAGE}
USER 0:0
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends systemd systemd-sysv \\
 && systemctl set-default multi-user.target && mkdir -p /etc/credstore /etc/enricher
COPY enricher.service /etc/systemd/system/
"""
_BARE = (
    *("--runtime", "runc", "--network", "host", "--log-driver", "k8s-file"),
    *("--ulimit", "nofile=1024:4096", "--ulimit", "nproc=1000:1000"),
)
"""What podman needs to be told where it runs without an engine, and maybe in a small machine itself."""
_CONFINED = (*(*_BARE, "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),)


@dataclass(frozen=True, slots=True)
class Images:
    """A store of images in a directory that is ours alone. STORAGE_DRIVER=vfs where overlays are refused."""

    directory: Path

    def __post_init__(self) -> None:
        graph, running = self.directory / "graph", self.directory / "running"
        lines = (
            "[storage]",
            'driver = "overlay"',
            f'graphroot = "{graph}"',
            f'runroot = "{running}"',
        )
        self._configuration.write_text("\n".join(lines))

    @property
    def _configuration(self) -> Path:
        return self.directory / "storage.conf"

    def run(
        self, *command: str, check: bool = True, given: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """With `given` as its input."""
        environment = os.environ | {"CONTAINERS_STORAGE_CONF": str(self._configuration)}
        ran = subprocess.run(
            command, env=environment, input=given, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0 or not check, (
            f"{command}\n{ran.stdout[-4000:]}{ran.stderr[-4000:]}"
        )
        return ran

    def make_base(self) -> None:
        """Debian 12 with its Python and nothing else."""
        context = self.directory / "base"
        context.mkdir()
        packages = "python3,python3-venv,ca-certificates"
        self.run(
            *("debootstrap", "--variant=minbase", f"--include={packages}"),
            *("bookworm", str(context / "root")),
        )
        (context / "Dockerfile").write_text("FROM scratch\nCOPY root /\n")
        self._build(BASE, context / "Dockerfile", context)

    def make_image(self) -> None:
        arguments = ["--build-arg", f"BASE={BASE}", "--build-arg", "VERSION=0.0.test"]
        for source, target in self._access_to_the_index().items():
            arguments += ["--volume", f"{source}:{target}:ro"]
        self._build(IMAGE, ROOT / "Dockerfile", ROOT, *arguments)

    def make_machine(self) -> None:
        """The image with systemd in it, and the unit: a machine on which somebody installed both."""
        context = self.directory / "machine"
        context.mkdir()
        (context / "Dockerfile").write_text(_MACHINE)
        shutil.copy(ROOT / "deploy" / "systemd" / "enricher.service", context)
        self._build(MACHINE, context / "Dockerfile", context)

    def _build(self, tag: str, recipe: Path, context: Path, *arguments: str) -> None:
        command = ("buildah", "bud", "--isolation", "chroot", "--format", "docker")
        self.run(*command, *arguments, "--tag", tag, "--file", str(recipe), str(context))

    def _access_to_the_index(self) -> Mapping[str, str]:
        """As on this machine: what pip is told here, and whom it trusts."""
        trusted = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
        said = self.run("pip", "config", "list", check=False).stdout.splitlines()
        urls = [line.partition(".")[2] for line in said if ".index-url=" in line]
        configuration = self.directory / "pip.conf"
        text = "\n".join(url.replace("'", "") for url in urls)
        configuration.write_text(f"[global]\ncert = {CERTIFICATES}\n{text}\n")
        return {str(configuration): "/etc/pip.conf", **({trusted: CERTIFICATES} if trusted else {})}

    def inspect(self, tag: str) -> dict[str, Any]:
        [found] = json.loads(self.run("podman", "image", "inspect", tag).stdout)
        return dict(found)

    def megabytes(self, tag: str) -> float:
        return float(self.inspect(tag)["Size"]) / 1e6

    def say(self, *command: str) -> str:
        """What this program of the image prints, as the image's own user."""
        program, *arguments = command
        confined = ("podman", "run", "--rm", *_CONFINED, "--entrypoint", program)
        return self.run(*confined, IMAGE, *arguments).stdout

    @contextmanager
    def container(self, environment: Mapping[str, str]) -> Iterator[Container]:
        """The daemon, started as the image says; gone afterwards, whatever became of it."""
        variables = self.directory / f"{time.monotonic_ns()}.env"
        variables.write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
        command = ("podman", "run", "--detach", *_CONFINED, "--env-file", str(variables))
        container = Container(self, self.run(*command, IMAGE).stdout.strip())
        try:
            yield container
        finally:
            print(self.run("podman", "logs", container.id, check=False).stderr)
            self.run("podman", "rm", "--force", "--time", "0", container.id)

    @contextmanager
    def machine(self) -> Iterator[Machine]:
        """Booted, and gone afterwards. As on a real one, mounts reach everybody: credentials are one."""
        systemd = ("--privileged", "--systemd=always", "--entrypoint", "/sbin/init")
        command = ("podman", "run", "--detach", *_BARE, *systemd, MACHINE)
        machine = Machine(self, self.run(*command).stdout.strip())
        try:
            machine.do("mount", "--make-rshared", "/")
            yield machine
        finally:
            print(machine.do("journalctl", "--unit=enricher", "--output=cat", check=False))
            self.run("podman", "rm", "--force", "--time", "0", machine.id)

    def remove(self) -> None:
        """All that was mounted or run from here, before the directory goes."""
        self.run("podman", "rm", "--all", "--force", "--time", "0", check=False)
        self.run("buildah", "rm", "--all", check=False)
        self.run("podman", "rmi", "--all", "--force", check=False)


@dataclass(frozen=True, slots=True)
class Container:
    """A daemon in its container."""

    images: Images
    id: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """Its log so far: the image writes nothing but lines of JSON."""
        said = self.images.run("podman", "logs", self.id)
        return [json.loads(line) for line in (said.stdout + said.stderr).splitlines()]

    def has_said(self, event: str) -> bool:
        return any(line["event"] == event for line in self.events)

    @property
    def process(self) -> Path:
        """Of what is process 1 in there, as this machine sees it."""
        pid = self.images.run("podman", "inspect", "--format", "{{.State.Pid}}", self.id)
        return Path("/proc", pid.stdout.strip())

    def is_healthy(self) -> bool:
        """By the image's own health check."""
        ran = self.images.run("podman", "healthcheck", "run", self.id, check=False)
        return ran.returncode == 0

    def terminate(self) -> None:
        self.images.run("podman", "kill", "--signal", "TERM", self.id)

    def wait(self) -> int:
        return int(self.images.run("podman", "wait", self.id).stdout)


@dataclass(frozen=True, slots=True)
class Machine:
    """A container that is a machine with systemd."""

    images: Images
    id: str

    def do(self, *command: str, check: bool = True, given: str | None = None) -> str:
        """What the command prints in there, as root."""
        in_there = ("podman", "exec", "--interactive", self.id)
        return self.images.run(*in_there, *command, check=check, given=given).stdout

    def write(self, file: str, text: str) -> None:
        self.do("sh", "-c", f"umask 077; cat > {file}", given=text)

    def is_up(self) -> bool:
        state = self.do("systemctl", "is-system-running", check=False).strip()
        return state in ("running", "degraded")  # what a container may not do concerns nobody here

    def shown(self, name: str) -> str:
        """A property of the unit, as systemd has it."""
        return self.do("systemctl", "show", "enricher", f"--property={name}", "--value").strip()
