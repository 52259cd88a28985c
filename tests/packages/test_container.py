"""The image, built and run for real. Takes minutes, root, and Debian's tools: `make packages`."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.packages.containers import BASE, IMAGE, Images
from tests.support.rig import Rig, address
from tests.support.waiting import eventually

MOST_MEGABYTES = 200
USER = 65532
COMPILERS = ("gcc", "cc", "g++", "clang", "cpp", "make", "ld", "as", "cargo", "rustc")

pytestmark = [pytest.mark.packages, pytest.mark.timeout(900)]


def test_the_image_is_small_and_says_what_it_is(images: Images) -> None:
    base, whole = images.megabytes(BASE), images.megabytes(IMAGE)
    print(f"image {whole:.0f} MB, of which the base {base:.0f} MB and ours {whole - base:.0f} MB")
    assert whole - base < MOST_MEGABYTES
    found = images.inspect(IMAGE)
    config = found["Config"]
    assert config["User"] == f"{USER}:{USER}"
    assert config["Labels"]["org.opencontainers.image.version"] == "0.0.test"
    assert found["Healthcheck"]["Test"][0] == "CMD"


def test_there_is_no_compiler_in_it_and_its_python_has_no_pip(images: Images) -> None:
    program = f"import shutil; print([name for name in {COMPILERS} if shutil.which(name)])"
    assert images.say("/opt/enricher/bin/python", "-c", program) == "[]\n"
    packages = "import importlib.util as u; print(u.find_spec('pip'), u.find_spec('setuptools'))"
    assert images.say("/opt/enricher/bin/python", "-c", packages) == "None None\n"


def test_nothing_of_its_making_is_left_in_it(images: Images) -> None:
    places = ("/opt/enricher", "/build", "/etc/pip.conf")
    program = f"import os; print([os.path.exists(place) for place in {places}])"
    assert images.say("/opt/enricher/bin/python", "-c", program) == "[True, False, False]\n"


async def test_it_enriches_a_lead_is_healthy_and_drains_at_sigterm(
    images: Images, rig: Rig
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = rig.environment() | {"ENRICHER_HTTP_PORT": str(port)}
    with images.container(settings) as container:
        await eventually(lambda: container.has_said("stream.opened"), within=60)
        await rig.leads.insert_one({"_id": 1, "email": address()})
        assert await rig.witness.end_of(1) == "completed"
        assert container.is_healthy()
        status = (container.process / "status").read_text().splitlines()
        assert f"Uid:\t{USER}\t{USER}\t{USER}\t{USER}" in status
        assert b"enricher\0run\0" in (container.process / "cmdline").read_bytes()

        rig.simulator.latency = 2.0
        before = len(rig.simulator.journal)
        await rig.leads.insert_one({"_id": 2, "email": address()})
        await eventually(lambda: len(rig.simulator.journal) > before)
        container.terminate()
        assert await asyncio.to_thread(container.wait) == 0
        assert container.has_said("drain.finished")
        assert container.has_said("daemon.stopped")
    assert await rig.witness.end_of(2) == "completed"


async def test_without_its_database_it_is_one_clear_line_and_exit_code_3(images: Images) -> None:
    with images.container({"MONGODB_URI": "mongodb://127.0.0.1:1/"}) as container:
        assert await asyncio.to_thread(container.wait) == 3
