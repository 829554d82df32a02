"""What a host is and has, before anything is installed on it; what is missing is told, and never an error."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import platform
import re
import shutil
import time
from pathlib import Path
from typing import Any

from agent.data import (
    data_services,
)
from agent.delivery import (
    incoming,
)
from agent.failures import Failure
from agent.gpu import (
    gpus,
)
from agent.graphistry import (
    release_folder,
    secret_variables,
)
from agent.machine import (
    docker,
)
from agent.machine.commands import run
from agent.own_archive import digest
from agent.phases import (
    tunnel,
)
from agent.phases.preflight import SYSTEMD, existing
from agent.sites import (
    delivered,
    host_secret,
)
from agent.sites.hosts_site import machine_id
from agent.specification import Specification
from agent.supported import os_release

PORTS = (80, 443, 5432, 6379, 2049)
WIREGUARD = Path("/sys/module/wireguard")
TUNNEL_PORT = 51820
FOLDERS = ("/var/lib/docker", "/opt", "/var/lib")
OS_RELEASE = Path("/etc/os-release")
MEMORY = Path("/proc/meminfo")


def inspect() -> dict[str, Any]:
    """The facts that the operator's preflight judges."""
    system = os_release(OS_RELEASE.read_text()) if OS_RELEASE.exists() else {}
    facts_of_docker = _docker()
    folders = {each: Path(facts_of_docker.pop(each, each)) for each in FOLDERS}
    driver, found, problem = _gpus()
    known = delivered.last_known()
    return {
        "os": system.get("PRETTY_NAME", "unknown"),
        "osId": f"{system.get('ID', '')} {system.get('VERSION_ID', '')}".strip(),
        "architecture": platform.machine(),
        "systemd": SYSTEMD.is_dir(),
        "python": platform.python_version(),
        "freeGib": {name: _free_gib(folder) for name, folder in folders.items()},
        "fileSystems": {name: existing(folder).stat().st_dev for name, folder in folders.items()},
        "docker": facts_of_docker,
        "driver": driver,
        "gpus": found,
        "gpuProblem": problem,
        "memoryMib": _memory_mib(),
        "listening": _listening(),
        "time": time.time(),
        "machineId": machine_id(),
        "node": _node(known),
        "lacks": _lacks(known),
        "firewall": _firewall(),
        "wireguard": _wireguard(),
        "networks": _networks(),
        "dataServices": data_services.present(),
        "release": release_folder.preinstalled(),
    }


def _docker() -> dict[str, Any]:
    """Docker's versions and runtimes; /var/lib/docker is where it really keeps its images."""
    information: dict[str, Any] = {}
    # A daemon that does not run still gives an answer, with errors in it.
    done = run(["docker", "info", "--format", "{{json .}}"], seconds=30)
    try:
        information = json.loads(done.output) if done.succeeded else {}
    except ValueError:
        information = {}
    compose = run(["docker", "compose", "version", "--short"], seconds=30)
    return {
        "version": information.get("ServerVersion") or None,
        "compose": compose.output.strip().lstrip("v") or None if compose.succeeded else None,
        "runtimes": sorted(information.get("Runtimes") or {}),
        # The agent enters it into Docker's settings where only that is missing.
        "nvidiaRuntime": shutil.which("nvidia-container-runtime"),
        "openToUser": _is_open_to_user(),
        "defaultRuntime": information.get("DefaultRuntime") or None,
        **_changes(),
        docker.DOCKER: str(
            docker.images_folder(
                information.get("DriverStatus"), information.get("DockerRootDir") or ""
            )
        ),
    }


def _changes() -> dict[str, Any]:
    """What the agent would change in Docker's settings, for which it restarts Docker, or why it cannot read them."""
    try:
        return {"changes": docker.differences(docker.with_gpus), "settingsProblem": None}
    except Failure as failure:
        return {"changes": [], "settingsProblem": failure.message}


def _is_open_to_user() -> bool:
    """Whether Docker answers whoever has signed in, and not root alone."""
    user = os.environ.get("SUDO_USER", "root")
    return run(["sudo", "-n", "-u", user, "docker", "version"], seconds=30).succeeded


def _gpus() -> tuple[str | None, list[dict[str, Any]], dict[str, str] | None]:
    """The driver's version, the GPUs, and what is wrong with them: message and hint."""
    try:
        found = gpus.read()
    except Failure as failure:
        return None, [], {"message": failure.message, "hint": failure.hint}
    return (found[0].driver if found else None), [each.described() for each in found], None


def _free_gib(folder: Path) -> float:
    return round(shutil.disk_usage(existing(folder)).free / 2**30, 1)


def _memory_mib() -> int:
    found = re.search(r"^MemTotal:\s+(\d+) kB", MEMORY.read_text(), re.MULTILINE)
    return int(found.group(1)) // 1024 if found else 0


def _listening() -> dict[str, str]:
    """Which of the ports are taken, and by which program; `kernel` where it is none, as with an NFS server."""
    found: dict[str, str] = {}
    for line in run(["ss", "-Hltnp"]).output.splitlines():
        parts = line.split(None, 5)
        port = parts[3].rpartition(":")[2] if len(parts) > 3 else ""
        if port.isdigit() and int(port) in PORTS:
            name = re.search(r'"([^"]+)"', parts[5] if len(parts) > 5 else "")
            found.setdefault(port, name.group(1) if name else "kernel")
    if (
        run(["ss", "-Hlun", f"sport = :{TUNNEL_PORT}"]).output.strip()
        and tunnel.shown_peers() is None
    ):
        found[f"{TUNNEL_PORT}/udp"] = "somebody else's WireGuard, or another program"
    if "2049" in found and run(["systemctl", "is-active", "nfs-server"]).output.strip() == "active":
        found["2049"] = "nfs-server"  # be it the kernel's, which has no process, or another's
    return found


def _node(known: Specification | None) -> dict[str, str] | None:
    """Which node this host already is."""
    if known is None:
        return None
    return {"cluster": known.cluster, "node": known.node, "role": known.role}


def _lacks(known: Specification | None) -> list[str]:
    """What is delivered to a node and is not here."""
    here = {
        "agent": _has_agent(known),
        "specification": delivered.specification() is not None,
        "secret": host_secret.read() is not None,
        "secretEnv": known is not None
        and (known.secret_env is None or secret_variables.kept() is not None),
        "release": known is not None
        and (known.release_source != "file" or incoming.place(str(known.release_sha256)).exists()),
    }
    if known is not None and known.tunnel is not None:
        here["tunnel"] = tunnel.is_whole(known)
    return [what for what, is_here in here.items() if not is_here]


def _wireguard() -> str | None:
    """What there is of WireGuard: the kernel's, a program in its place, or nothing. Nothing is loaded for it."""
    if WIREGUARD.exists() or run(["modprobe", "--dry-run", "--quiet", "wireguard"]).succeeded:
        return "kernel"
    return (
        "wireguard-go" if shutil.which("wireguard-go") and Path("/dev/net/tun").exists() else None
    )


def _networks() -> list[str]:
    """The networks to which this host has a way of its own, but for the tunnel's; a host's own addresses too."""
    found = set()
    for line in run(["ip", "-4", "route", "show", "table", "all"]).output.splitlines():
        words = line.split()
        if tunnel.INTERFACE in words or "unreachable" in words:
            continue
        # Before the network there may be a kind, as `local`.
        for word in words[:2]:
            with contextlib.suppress(ValueError):
                found.add(str(ipaddress.IPv4Network(word)))
                break
    return sorted(found)


def _has_agent(known: Specification | None) -> bool:
    """Whether the agent is there, whole, and the one that the specification names."""
    if known is None or not delivered.AGENT.exists():
        return delivered.AGENT.exists()
    return digest(delivered.AGENT.read_bytes()) == known.agent_sha256


def _firewall() -> str | None:
    """Somebody else's firewall that decides what reaches this host."""
    if "Status: active" in run(["ufw", "status"], seconds=30).output:
        return "ufw active"
    if run(["firewall-cmd", "--state"], seconds=30).output.strip() == "running":
        return "firewalld active"
    return None
