"""A machine out of shell scripts: every command that the agent runs, and a release of a few services."""

import os
import stat
import struct
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from agent.machine.disk_space import Disk

GPU = "{index}, Tesla T4, 15360, {driver}, GPU-{index}, 00000000:00:1{index}.0, [N/A]"

SYSTEMCTL = """
echo "$@" >> "{root}/systemctl.log"
case "$1 $2" in
  "start "*.mount) echo "$2" >> "{root}/mounts" ;;
  "show "*) echo LoadState=not-found ;;
  "start "nfs-server.service) touch "{root}/nfs-server" ;;
  "is-active "nfs-server.service) [ -e "{root}/nfs-server" ] && echo active || {{ echo inactive; exit 3; }} ;;
  "is-active "graphistry-cluster-agent.service) cat "{root}/agent-state" ;;
  "is-active "*) echo inactive; exit 3 ;;
esac
"""
DOCKER = """
echo "$@" >> "{root}/docker.log"
case "$1" in
  info) case "$3" in *Runtime*) echo nvidia ;; *Root*) echo "{root}" ;; esac ;;
  version) echo 27.0.1 ;;
  compose) cat "{root}/compose-version" 2>/dev/null || echo v2.39.1 ;;
  load) cat > "{root}/loaded"; [ ! -e "{root}/docker-fails" ] || {{ cat "{root}/docker-fails"; exit 1; }}
        echo "Loaded image: graphistry/nexus:v2.50.1-12" ;;
  image) case "$2" in
           ls) cat "{root}/unverified" 2>/dev/null ;;
           *) [ ! -e "{root}/no-images" ] ;;
         esac ;;
  container) exit 1 ;;
  exec) cat > "{root}/sql"; echo f ;;
esac
"""
NFT = """
echo "$@" >> "{root}/nft.log"
[ ! -e "{root}/nft-fails" ] || {{ echo "Error: Could not process rule" >&2; exit 1; }}
case "$1" in
  -f) cp "$2" "{root}/table" ;;
  delete) rm "{root}/table" ;;
  --stateless) cat "{root}/table" ;;
esac
"""
UFW = """
echo "$@" >> "{root}/ufw.log"
case "$1 $2" in
  "status "*) cat "{root}/ufw-status" 2>/dev/null ;;
  "show added") cat "{root}/ufw-rules" 2>/dev/null ;;
esac
"""
NVIDIA_SMI = """
echo "$@" >> "{root}/nvidia-smi.log"
case "$1" in
  -L) sed 's/^\\([0-9]*\\), \\([^,]*\\),.*/GPU \\1: \\2/' "{root}/gpus" ;;
  -r) exit $(cat "{root}/reset-fails" 2>/dev/null || echo 0) ;;
  --query-remapped*) cat "{root}/remapped" 2>/dev/null; exit 0 ;;
  --query-gpu=pci*) cat "{root}/clocks" 2>/dev/null; exit 0 ;;
  -q) cat "{root}/temperatures" 2>/dev/null; exit 0 ;;
  *) cat "{root}/gpus" ;;
esac
exit $(cat "{root}/nvml" 2>/dev/null || echo 0)
"""


class FakeMachine:
    """The folder with the scripts, and what tests turn on it."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self._monkeypatch = monkeypatch
        self.home = root / "home"
        self.store = root / "store"
        self.release = root / "release"
        (root / "bin").mkdir()
        self.gpus(1)
        for name, script in (
            ("systemctl", SYSTEMCTL),
            ("docker", DOCKER),
            ("nvidia-smi", NVIDIA_SMI),
            ("journalctl", '[ "$1" = -k ] && cat "{root}/kernel.json" 2>/dev/null; true'),
            ("chattr", 'echo "$@" >> "{root}/chattr.log"'),
            ("nft", NFT),
            ("ufw", UFW),
            ("exportfs", 'echo "$@" >> "{root}/exportfs.log"'),
            ("mount.nfs", ""),
            ("umount", f': > "{root}/mounts"'),
            (
                "mount",
                'echo "$@" >> "{root}/mount.log"; for last; do :; done; echo "$last" >> "{root}/mounts"',
            ),
            ("blkid", "exit 2"),
            ("mkfs.ext4", f'echo "$@" >> "{root}/mkfs.log"'),
        ):
            self.command(name, script.format(root=root) if "{root}" in script else script)
        self.make_release(self.release)
        monkeypatch.setenv("PATH", f"{root}/bin:{os.environ['PATH']}")
        monkeypatch.setenv("FAKE_MACHINE", str(root))
        redirect(monkeypatch, "SYSTEMD", root)
        redirect(monkeypatch, "PROC", root / "proc")
        redirect(monkeypatch, "INTERFACES", root / "interfaces")
        redirect(monkeypatch, "CONTAINER", root / "container")
        redirect(monkeypatch, "DEVICES", root / "dev")
        (root / "kmsg").touch()
        redirect(monkeypatch, "KMSG", root / "kmsg")  # this computer's has news at any moment
        redirect(monkeypatch, "HOME", self.home)
        redirect(monkeypatch, "AGENT", self.home / "agent.pyz")
        redirect(monkeypatch, "WANTED", self.home / "wanted.json")
        redirect(monkeypatch, "STORE", self.store)
        redirect(monkeypatch, "LOCK", root / "lock")
        redirect(monkeypatch, "EXPORTS", root / "exports")
        redirect(monkeypatch, "EXPORTED", root / "etab")
        redirect(monkeypatch, "MACHINE_ID", root / "machine-id")
        redirect(monkeypatch, "UNITS", root / "units")
        redirect(monkeypatch, "SETTINGS", root / "daemon.json")
        redirect(monkeypatch, "CONTAINERD_SETTINGS", root / "containerd.toml")
        redirect(monkeypatch, "BY_ID", root / "by-id")
        redirect(monkeypatch, "BLOCK_DEVICES", root / "devices")
        redirect(monkeypatch, "DATA", str(root / "data"))
        redirect(monkeypatch, "DOCKER_ROOT", str(root / "docker-data"))
        redirect(monkeypatch, "INSTANCE_STORE", root / "instance-store")
        redirect(monkeypatch, "WARM", root / "warm")
        redirect(monkeypatch, "HELPER", root / "bin" / "docker")
        redirect(monkeypatch, "PREINSTALLED", (self.release,))
        monkeypatch.setattr("agent.machine.systemd.mounted", self.mounted)
        monkeypatch.setattr("agent.machine.disk_growth._attempts", {})
        self.disk_is_full(0)
        monkeypatch.setattr("agent.limits.PATIENCE", 0.0)
        monkeypatch.setattr("agent.limits.HEALTH", 0.0)
        monkeypatch.setattr("agent.limits.GPUS", 0.0)
        monkeypatch.setattr("agent.limits.WATCH", 0.0)
        monkeypatch.setattr("agent.phases.start.PAUSE_SECONDS", 0)
        monkeypatch.setattr("agent.phases.start.ASK_SECONDS", 0)
        monkeypatch.setattr("agent.folders.efs.is_known", lambda _: True)
        self.home.mkdir()
        (root / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
        (root / "agent-state").write_text("active\n")
        (root / "shared").mkdir()

    def command(self, name: str, script: str) -> None:
        """Make a command a shell script."""
        file = self.root / "bin" / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def make_release(self, folder: Path) -> None:
        """The release's files, 2.50.1 for CUDA 12."""
        (folder / "data" / "config").mkdir(parents=True)
        script = Path(__file__).with_name("fake_graphistry.py").read_text()
        (folder / "graphistry").write_text(f"#!{sys.executable}\n{script}")
        (folder / "graphistry").chmod(0o755)
        (folder / "VERSION").write_text("v2.50.1\n")
        (folder / "CUDA_SHORT_VERSION").write_text("12\n")
        (folder / "data" / "config" / "custom.env").write_text("THEIRS=1\n")

    def disk_is_full(self, percent: int) -> None:
        """How full every disk of the machine is, whatever this computer's are."""
        self._monkeypatch.setattr(
            "agent.machine.disk_space._disk",
            lambda name, path: Disk(name, path, 20480, 200 * percent, 200 * (100 - percent)),
        )
        self._monkeypatch.setattr("agent.machine.disk_space.NOT_DISKS", ())

    def probe_fails(self, number: int | None) -> None:
        """What the system says when the agent writes into the shared folder; None for nothing."""

        def probe(*_: object) -> None:
            if number is not None:
                raise OSError(number, os.strerror(number))

        self._monkeypatch.setattr("agent.folders.inside.probe", probe)

    def gpus(self, count: int, driver: str = "580.126.20") -> None:
        """What nvidia-smi shows."""
        lines = [GPU.format(index=index, driver=driver) for index in range(count)]
        (self.root / "gpus").write_text("\n".join(lines) + "\n")

    def mounted(self, path: str) -> str | None:
        """As agent.machine.systemd.mounted, for mounts by the fake systemctl and the fake mount."""
        from agent.machine.systemd import mount_unit

        file = self.root / "mounts"
        mounts = file.read_text().split() if file.exists() else []
        return "fake" if mount_unit(path) in mounts or path in mounts else None

    def log(self, name: str) -> list[str]:
        """How a command was called, a line a call."""
        file = self.root / f"{name}.log"
        return file.read_text().splitlines() if file.exists() else []

    def connects(self, process: int, *far_ends: str, state: str = "01") -> None:
        """What a process's network is connected to: addresses with ports."""
        lines = ["  sl  local_address rem_address   st"]
        for each in far_ends:
            address, _, port = each.rpartition(":")
            content = ip_address(address).packed
            far = "".join(f"{word:08X}" for (word,) in struct.iter_unpack("=I", content))
            lines.append(f"   0: 00000000:9C40 {far}:{int(port):04X} {state} 00000000:00000000")
        folder = self.root / "proc" / str(process) / "net"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tcp").write_text("\n".join(lines) + "\n")

    def listens(self, *ports: int) -> None:
        """At these ports of this machine alone somebody listens, at all of its addresses."""
        lines = [f"   0: 00000000:{port:04X} 00000000:0000 0A 00000000:00000000" for port in ports]
        folder = self.root / "proc" / "self" / "net"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tcp").write_text(
            "\n".join(["  sl  local_address rem_address   st", *lines]) + "\n"
        )

    def has_volume(self, content: bytes = bytes(2 * 1024 * 1024)) -> None:
        """Attach the data volume."""
        (self.root / "by-id").mkdir(exist_ok=True)
        device = self.root / "by-id" / "nvme-Amazon_Elastic_Block_Store_vol0123456789abcdef0"
        device.write_bytes(content)

    def document(self, role: str = "leader", **changes: Any) -> dict[str, Any]:
        """A specification of this machine."""
        return specification_document(role, self.root / "shared", **changes)

    def host_document(self, role: str = "leader", **changes: Any) -> dict[str, Any]:
        """A specification of this machine as a host, whose address is every machine's own."""
        shared = {"kind": "nfs", "server": "127.0.0.1", "export": "/export"}
        if role == "leader":
            folder = str(self.store / "shared")
            shared = {"kind": "nfs-on-leader", "folder": folder, "clients": ["10.77.0.11"]}  # type: ignore[dict-item]
        is_leader = role == "leader"
        found = self.document(
            role,
            site={
                "kind": "hosts",
                "address": "127.0.0.1",
                "tunnel": None,
                "telemetry": {"allow": []},
            },
            agent={"sha256": "0" * 64},
            sharedFolder={**shared, "path": str(self.root / "shared")},
            dataVolume={"folder": str(self.store / "data")} if is_leader else None,
            firewall={"allow": ["10.77.0.11"]} if is_leader else None,
            secret=None,
        )
        del found["gpu"]["instanceTypes"], found["gpu"]["gpusByType"]
        found.update(changes)
        return found


def specification_document(role: str, shared: Path, **changes: Any) -> dict[str, Any]:
    """A specification."""
    found: dict[str, Any] = {
        "schemaVersion": 1,
        "cluster": "graphistry-cluster/test",
        "node": "leader" if role == "leader" else "small",
        "folder": "leader" if role == "leader" else "small",
        "role": role,
        "site": {
            "kind": "aws",
            "region": "us-east-1",
            "bucket": "documents",
            "reportKey": "r",
            "containersUseRole": False,
        },
        "agent": {"key": "agent/a.pyz", "sha256": "0" * 64},
        "endpoints": {
            "postgres": {"host": "leader.internal", "port": 5432},
            "redis": {"host": "leader.internal", "port": 6379},
        },
        "sharedFolder": {
            "kind": "efs",
            "fileSystemId": "fs-01234567",
            "path": str(shared),
            "mountTargets": {"us-east-1a": "10.40.0.20", "us-east-1b": "10.40.1.20"},
            "mountHelper": None,
        },
        "dataVolume": {"volumeId": "vol-0123456789abcdef0"} if role == "leader" else None,
        "dataServices": "bundled",
        "firewall": None,
        "gpu": {
            "instanceTypes": ["g4dn.xlarge"],
            "gpusByType": {"g4dn.xlarge": 1},
            "gpus": 1,
            "cudaVisibleDevices": "0",
            "forgeWorkers": 4,
            "streamglWorkers": 4,
            "daskWorkers": 1,
        },
        "release": {
            "version": "2.50.1",
            "cuda": "12",
            "source": "preinstalled",
            "sha256": None,
        },
        "secret": {
            "arn": f"arn:aws:secretsmanager:us-east-1:1:secret:{'cluster' if role == 'leader' else 'followers'}",
            "followersArn": "arn:aws:secretsmanager:us-east-1:1:secret:followers"
            if role == "leader"
            else None,
        },
        "docker": {"useLocalDisks": False},
        "configuration": {"env": {}, "files": {}},
        "secretEnv": None,
    }
    found.update(changes)
    return found


def redirect(monkeypatch: pytest.MonkeyPatch, name: str, value: object) -> None:
    """Give a constant of the agent another value, wherever it was imported to."""
    for key, module in list(sys.modules.items()):
        if key.startswith("agent.") and hasattr(module, name):
            monkeypatch.setattr(module, name, value)
