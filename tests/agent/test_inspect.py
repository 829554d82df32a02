"""What a host tells before anything is installed on it, by the built agent and the oldest Python that it runs with."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agent.graphistry import secret_variables
from agent.machine import docker, ports
from agent.machine.docker import with_gpus
from agent.own_archive import digest
from agent.phases import tunnel
from agent.sites import host_secret, inspect_host
from agent.sites.inspect_host import inspect
from agent.sites.reach import reach
from components.agent_archive import build_archive
from operate.hosts.preflight import NO_COMMAND

from .fakes import FakeMachine, redirect


def runs(python: str | Path | None) -> bool:
    """Whether this is a Python: a shim of pyenv's may be there and have none to run."""
    return (
        python is not None
        and not subprocess.run([python, "-c", ""], capture_output=True).returncode
    )


OLD_PYTHON = next(
    filter(
        runs,
        [*Path.home().glob(".pyenv/versions/3.8.*/bin/python3.8"), shutil.which("python3.8")],
    ),
    None,
)


@pytest.fixture
def busy() -> Iterator[int]:
    """A port that is taken."""
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.fixture
def free() -> int:
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port


def test_facts_of_a_machine_that_has_everything(
    fake: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    information = {
        "ServerVersion": "28.3.3",
        "Runtimes": {"runc": {}, "nvidia": {}},
        "DefaultRuntime": "runc",
        "DockerRootDir": str(fake.root),
    }
    answers = f"info) echo '{json.dumps(information)}' ;; compose) echo v2.39.1 ;;"
    fake.command("docker", f"case $1 in {answers} esac")
    fake.command("nvidia-container-runtime", "")
    fake.command(
        "ss",
        """[ "$1" = -Hltnp ] && cat <<'END'
LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:(("nginx",pid=7,fd=6),("nginx",pid=8,fd=6))
LISTEN 0 64 0.0.0.0:2049 0.0.0.0:*
LISTEN 0 64 [::]:5432 [::]:* users:(("postgres",pid=9,fd=6))
LISTEN 0 64 127.0.0.1:8080 0.0.0.0:* users:(("other",pid=9,fd=6))
END""",
    )
    monkeypatch.setenv("SUDO_USER", "operator")
    fake.command("sudo", '[ "$*" = "-n -u operator docker version" ]')
    (fake.root / "ufw-status").write_text("Status: active\n")
    (fake.home / "wanted.json").write_text(json.dumps(fake.host_document("follower")))
    settings = {**with_gpus({}), "default-runtime": "runc"}
    (fake.root / "daemon.json").write_text(json.dumps(settings))
    found = inspect()
    assert json.loads(json.dumps(found)) == found
    assert found["docker"] == {
        "version": "28.3.3",
        "compose": "2.39.1",
        "runtimes": ["nvidia", "runc"],
        "nvidiaRuntime": f"{fake.root}/bin/nvidia-container-runtime",
        "openToUser": True,
        "defaultRuntime": "runc",
        "changes": ['default-runtime: "nvidia"'],
        "settingsProblem": None,
    }
    assert found["listening"] == {"80": "nginx", "2049": "kernel", "5432": "postgres"}
    assert found["driver"] == "580.126.20"
    assert found["gpus"] == [{"index": 0, "name": "Tesla T4", "memoryMib": 15360}]
    assert found["firewall"] == "ufw active"
    assert found["machineId"] == "0123456789abcdef0123456789abcdef"
    assert found["node"] == {
        "cluster": "graphistry-cluster/test",
        "node": "small",
        "role": "follower",
    }
    assert set(found["freeGib"]) == {"/var/lib/docker", "/opt", "/var/lib"}
    assert set(found["fileSystems"]) == set(found["freeGib"])
    assert found["systemd"] is True


def test_the_release_that_came_with_it_is_told(fake: FakeMachine) -> None:
    found = {"version": "2.50.1", "cuda": "12", "folder": str(fake.release)}
    assert inspect()["release"] == found
    (fake.release / "CUDA_SHORT_VERSION").unlink()
    assert inspect()["release"] is None
    (fake.release / "graphistry").unlink()
    assert inspect()["release"] is None


@pytest.mark.parametrize("kind", [None, "bundled", "containers"])
def test_whose_data_there_are_is_told(fake: FakeMachine, kind: str | None) -> None:
    (fake.store / "data" / "postgresql_data").mkdir(parents=True)
    if kind == "bundled":
        (fake.store / "data" / "postgresql_data" / "PG_VERSION").touch()
    if kind == "containers":
        (fake.store / "data-services").mkdir()
    assert inspect()["dataServices"] == kind


@pytest.mark.parametrize(
    ("what", "file"),
    [
        ("agent", "agent.pyz"),
        ("specification", "wanted.json"),
        ("secret", "secret.json"),
        ("secretEnv", "secret-env.json"),
        ("release", "incoming/abc"),
    ],
)
def test_what_was_delivered_and_is_gone_is_told(fake: FakeMachine, what: str, file: str) -> None:
    release = {"version": "2.50.1", "cuda": "12", "source": "file", "sha256": "abc"}
    agent = {"sha256": digest(b"")}
    env = {"arn": None, "version": "v-1"}
    document = json.dumps(
        fake.host_document("follower", release=release, agent=agent, secretEnv=env)
    )
    (fake.home / "incoming").mkdir()
    for name in ("agent.pyz", "incoming/abc"):
        (fake.home / name).touch()
    for name in ("wanted.json", "specification.json"):
        (fake.home / name).write_text(document)
    host_secret.create("{}")
    secret_variables.accept("{}")
    assert inspect()["lacks"] == []
    if what == "agent":
        (fake.home / file).write_text("half of it")
        assert inspect()["lacks"] == [what]
    (fake.store if what.startswith("secret") else fake.home).joinpath(file).unlink()
    found = inspect()
    assert found["lacks"] == [what]
    assert found["node"]["node"] == "small"


def test_what_is_missing_is_told(fake: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ufw-status", "machine-id"):
        (fake.root / name).unlink(missing_ok=True)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(inspect_host, "OS_RELEASE", fake.root / "missing")
    found = inspect()
    assert found["docker"] == {
        "version": None,
        "compose": None,
        "runtimes": [],
        "nvidiaRuntime": None,
        "openToUser": False,
        "defaultRuntime": None,
        "changes": docker.differences(with_gpus),
        "settingsProblem": None,
    }
    missing = {name: found[name] for name in ("driver", "gpus", "listening", "firewall", "node")}
    assert missing == {
        "driver": None,
        "gpus": [],
        "listening": {},
        "firewall": None,
        "node": None,
    }
    assert (found["os"], found["osId"], found["machineId"]) == ("unknown", "", "")
    assert found["gpuProblem"]["message"].endswith(NO_COMMAND)


ROUTES = """
default via 10.0.0.1 dev eth0 proto dhcp src 10.0.0.10 metric 100
10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.10
198.18.0.0/15 dev graphistry scope link
unreachable 198.18.0.0/15 metric 9999
100.64.0.7 dev tailscale0 table 52
local 10.0.0.10 dev eth0 table local proto kernel scope host src 10.0.0.10
broadcast 10.0.0.255 dev eth0 table local proto kernel scope link src 10.0.0.10
"""


def test_what_a_tunnel_needs_to_know(fake: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.command("ip", f"cat <<'END'\n{ROUTES}END")
    fake.command("modprobe", '[ "$*" = "--dry-run --quiet wireguard" ]')
    redirect(monkeypatch, "WIREGUARD", fake.root / "no-module")
    found = inspect()
    # Not the tunnel's own ways.
    assert found["networks"] == ["10.0.0.0/24", "10.0.0.10/32", "10.0.0.255/32", "100.64.0.7/32"]
    assert found["wireguard"] == "kernel"
    fake.command("modprobe", "exit 1")
    monkeypatch.setattr("agent.sites.inspect_host.shutil.which", lambda _: None)
    assert inspect()["wireguard"] is None


def test_a_tunnel_whose_key_is_gone_or_whose_leader_is_silent_is_carried_again(
    fake: FakeMachine,
) -> None:
    wanted = {"network": "198.18.0.0/15", "port": 51820, "leader": "10.77.0.10"}
    site = {"kind": "hosts", "address": "127.0.0.1", "tunnel": wanted}
    fake.command("wg", 'case "$1" in genkey) echo key ;; esac')
    fake.command("wg-quick", "")
    for role in ("leader", "follower"):
        (fake.home / "wanted.json").write_text(json.dumps(fake.host_document(role, site=site)))
        assert "tunnel" in inspect()["lacks"]
    tunnel.public_key()
    assert "tunnel" in inspect()["lacks"]  # no leader is known
    (fake.home / "wanted.json").write_text(json.dumps(fake.host_document(site=site)))
    assert "tunnel" not in inspect()["lacks"]
    (fake.home / "wanted.json").write_text(json.dumps(fake.host_document("follower")))
    assert "tunnel" not in inspect()["lacks"]


def test_ports_of_another_host(busy: int, free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reach("127.0.0.1", [str(busy), str(free)]) == {str(busy): "open", str(free): "refused"}

    def say_nothing(*_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr("agent.machine.ports.socket.create_connection", say_nothing)
    assert reach("192.0.2.1", ["80"]) == {"80": "filtered"}


def test_whose_address_it_is() -> None:
    assert ports.is_own("127.0.0.1")
    assert not ports.is_own("192.0.2.1")


class TestArchive:
    """The built agent as a process of its own."""

    @pytest.fixture(params=[sys.executable, OLD_PYTHON], ids=["python", "oldest"])
    def agent(self, request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
        if request.param is None:
            pytest.skip("no Python 3.8 here")
        return [str(request.param), str(build_archive(tmp_path))]

    def run(self, agent: list[str], *words: str, home: Path) -> dict[str, Any]:
        environment = {
            "PATH": os.environ["PATH"],
            "GRAPHISTRY_CLUSTER_HOME": str(home / "home"),
            "GRAPHISTRY_CLUSTER_STORE": str(home / "store"),
        }
        done = subprocess.run(
            [*agent, *words], env=environment, capture_output=True, text=True, check=True
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def test_it_inspects_this_computer(self, agent: list[str], tmp_path: Path) -> None:
        found = self.run(agent, "inspect", home=tmp_path)
        assert found["memoryMib"] > 0
        assert found["node"] is None
        assert self.run(agent, "status", home=tmp_path)["agent"] in ("absent", "inactive", "active")
        assert self.run(agent, "guests", home=tmp_path) == {}
        assert not (tmp_path / "home").exists()

    def test_it_listens_until_its_input_ends(self, agent: list[str], busy: int, free: int) -> None:
        process = subprocess.Popen(
            [*agent, "listen", str(free), str(busy)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"listening": [str(free)]}
        assert ports.state("127.0.0.1", free) == "open"
        assert process.poll() is None
        process.communicate()
        assert process.returncode == 0
        assert ports.state("127.0.0.1", free) == "refused"

    def test_it_sends_back_what_comes_by_udp(self, agent: list[str], free: int) -> None:
        port = f"{free}/udp"
        words = [*agent, "listen", port]
        with subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline()) == {"listening": [port]}
            assert reach("127.0.0.1", [port]) == {port: "open"}
            process.communicate()
        assert reach("127.0.0.1", [port]) == {port: "refused"}

    def test_what_it_does_not_know_is_told(self, agent: list[str]) -> None:
        done = subprocess.run([*agent, "fly"], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "deliver [--release PATH]" in done.stderr
