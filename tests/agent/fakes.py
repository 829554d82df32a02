"""A machine out of shell scripts: every command that the agent runs, and a release of a few services."""

import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

GPU = "{index}, Tesla T4, 15360, {driver}, GPU-{index}"

SYSTEMCTL = """
echo "$@" >> "{root}/systemctl.log"
case "$1 $2" in
  "start "*.mount) echo "$2" >> "{root}/mounts" ;;
  "show "*) echo LoadState=not-found ;;
  "is-active "*) echo inactive; exit 3 ;;
esac
"""
DOCKER = """
echo "$@" >> "{root}/docker.log"
case "$1" in
  info) case "$3" in *Runtime*) echo nvidia ;; *Root*) echo "{root}" ;; esac ;;
  version) echo 27.0.1 ;;
  load) cat > "{root}/loaded"; [ ! -e "{root}/docker-fails" ] || {{ cat "{root}/docker-fails"; exit 1; }}
        echo "Loaded image: graphistry/nexus:v2.50.1-12" ;;
  image) [ ! -e "{root}/no-images" ] ;;
esac
"""
NVIDIA_SMI = """
case "$1" in -L) sed 's/^\\([0-9]*\\), \\([^,]*\\),.*/GPU \\1: \\2/' "{root}/gpus" ;; *) cat "{root}/gpus" ;; esac
exit $(cat "{root}/nvml" 2>/dev/null || echo 0)
"""


class FakeMachine:
    """The folder with the scripts, and what tests turn on it."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self._monkeypatch = monkeypatch
        self.home = root / "home"
        self.release = root / "release"
        (root / "bin").mkdir()
        self.gpus(1)
        for name, script in (
            ("systemctl", SYSTEMCTL),
            ("docker", DOCKER),
            ("nvidia-smi", NVIDIA_SMI),
            ("journalctl", ""),
            ("chattr", ""),
            ("umount", f': > "{root}/mounts"'),
            ("blkid", "exit 2"),
            ("mkfs.ext4", f'echo "$@" >> "{root}/mkfs.log"'),
        ):
            self.command(name, script.format(root=root) if "{root}" in script else script)
        self.make_release(self.release)
        monkeypatch.setenv("PATH", f"{root}/bin:{os.environ['PATH']}")
        monkeypatch.setenv("FAKE_MACHINE", str(root))
        redirect(monkeypatch, "SYSTEMD", root)
        redirect(monkeypatch, "HOME", self.home)
        redirect(monkeypatch, "UNITS", root / "units")
        redirect(monkeypatch, "SETTINGS", root / "daemon.json")
        redirect(monkeypatch, "BY_ID", root / "by-id")
        redirect(monkeypatch, "DATA", str(root / "data"))
        redirect(monkeypatch, "WARM", root / "warm")
        redirect(monkeypatch, "HELPER", root / "bin" / "docker")
        redirect(monkeypatch, "PREINSTALLED", (self.release,))
        monkeypatch.setattr("agent.systemd.mounted", self.mounted)
        monkeypatch.setattr("agent.limits.PATIENCE", 0.0)
        monkeypatch.setattr("agent.limits.HEALTH", 0.0)
        monkeypatch.setattr("agent.start.PAUSE_SECONDS", 0)
        monkeypatch.setattr("agent.shared_folder.is_known", lambda _: True)
        self.home.mkdir()
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

    def gpus(self, count: int, driver: str = "580.126.20") -> None:
        """What nvidia-smi shows."""
        lines = [GPU.format(index=index, driver=driver) for index in range(count)]
        (self.root / "gpus").write_text("\n".join(lines) + "\n")

    def mounted(self, path: str) -> str | None:
        """As agent.systemd.mounted, for mounts by the fake systemctl."""
        from agent.systemd import mount_unit

        file = self.root / "mounts"
        mounts = file.read_text().split() if file.exists() else []
        return "fake" if mount_unit(path) in mounts else None

    def log(self, name: str) -> list[str]:
        """How a command was called, a line a call."""
        file = self.root / f"{name}.log"
        return file.read_text().splitlines() if file.exists() else []

    def has_volume(self, content: bytes = bytes(2 * 1024 * 1024)) -> None:
        """Attach the data volume."""
        (self.root / "by-id").mkdir(exist_ok=True)
        device = self.root / "by-id" / "nvme-Amazon_Elastic_Block_Store_vol0123456789abcdef0"
        device.write_bytes(content)

    def document(self, role: str = "leader", **changes: Any) -> dict[str, Any]:
        """A specification of this machine."""
        return specification_document(role, self.root / "shared", **changes)


def specification_document(role: str, shared: Path, **changes: Any) -> dict[str, Any]:
    """A specification."""
    found: dict[str, Any] = {
        "schemaVersion": 1,
        "cluster": "graphistry-cluster/test",
        "node": "leader" if role == "leader" else "small",
        "role": role,
        "site": {"kind": "aws", "region": "us-east-1", "bucket": "documents", "reportKey": "r"},
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
        },
        "dataVolume": {"volumeId": "vol-0123456789abcdef0"} if role == "leader" else None,
        "gpu": {
            "instanceTypes": ["g4dn.xlarge"],
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
        "secret": {"arn": "arn:aws:secretsmanager:us-east-1:1:secret:cluster"},
        "docker": {"useLocalDisks": False},
    }
    found.update(changes)
    return found


def redirect(monkeypatch: pytest.MonkeyPatch, name: str, value: object) -> None:
    """Give a constant of the agent another value, wherever it was imported to."""
    for key, module in list(sys.modules.items()):
        if key.startswith("agent.") and hasattr(module, name):
            monkeypatch.setattr(module, name, value)
