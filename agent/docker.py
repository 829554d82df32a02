"""Docker's own settings, changed where they are wrong and nowhere else."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any, Callable

from agent import systemd
from agent.commands import require, run
from agent.failures import Failure
from agent.node import write_private

SETTINGS = Path("/etc/docker/daemon.json")
LOG_OPTIONS = {"max-size": "100m", "max-file": "3"}
CGROUP_DRIVER = "native.cgroupdriver="
START_SECONDS = 60


def prepare() -> None:
    """Have a Docker that runs and gives GPUs to containers; it is restarted where its settings do not say so yet."""
    if shutil.which("docker") is None:
        raise Failure("DockerMissing", "there is no command `docker`")
    ensure_running()
    configure(with_gpus)


def with_gpus(settings: dict[str, Any]) -> dict[str, Any]:
    """*settings* with nvidia as default runtime, and logs that can be read on the node and end somewhere."""
    runtimes = dict(settings.get("runtimes", {}))
    runtimes.setdefault("nvidia", {"path": "nvidia-container-runtime", "runtimeArgs": []})
    changed = {**settings, "default-runtime": "nvidia", "runtimes": runtimes}
    if not any(each.startswith(CGROUP_DRIVER) for each in settings.get("exec-opts", [])):
        # With systemd's, whoever reloads systemd takes the GPUs from running containers (nvidia-container-toolkit, 48).
        changed["exec-opts"] = [*settings.get("exec-opts", []), f"{CGROUP_DRIVER}cgroupfs"]
    if settings.get("log-driver") != "json-file" or "log-opts" not in settings:
        changed.update({"log-driver": "json-file", "log-opts": LOG_OPTIONS})
    return changed


def configure(change: Callable[[dict[str, Any]], dict[str, Any]]) -> bool:
    """Apply *change* to Docker's settings and restart it where that changes them."""
    if not write_settings(change):
        return False
    # systemd gives up on a unit that is restarted too often, which is not what happens here.
    run(["systemctl", "reset-failed", "docker.service", "docker.socket"])
    restarted = run(["systemctl", "restart", "docker.service"], seconds=120)
    if not restarted.succeeded:
        raise Failure("DockerUnavailable", "Docker does not restart", restarted.tail())
    ensure_running()
    return True


def write_settings(change: Callable[[dict[str, Any]], dict[str, Any]]) -> bool:
    """Apply *change* to the settings that Docker reads when it starts; whether that changes them."""
    text = SETTINGS.read_text() if SETTINGS.exists() else "{}"
    try:
        settings = json.loads(text or "{}")
        if not isinstance(settings, dict):
            raise ValueError("not an object")
    except ValueError as error:
        raise Failure("DockerConfigInvalid", f"{SETTINGS}: {error}") from error
    changed = change(settings)
    if changed == settings:
        return False
    write_private(SETTINGS, json.dumps(changed, indent=2) + "\n", 0o644)
    return True


def stop() -> None:
    """Stop Docker, and what would start it when somebody asks; containers may go on without it."""
    run(["systemctl", "stop", "docker.socket", "docker.service"], seconds=120)


def ensure_running() -> None:
    """Start Docker where it does not answer; raises Failure DockerUnavailable."""
    end = time.monotonic() + START_SECONDS
    if run(["docker", "info"], seconds=30).succeeded:
        return
    systemd.enable("docker.service")
    run(["systemctl", "start", "docker.service"], seconds=START_SECONDS)
    while True:
        done = run(["docker", "info"], seconds=30)
        if done.succeeded:
            return
        if time.monotonic() > end:
            raise Failure("DockerUnavailable", "Docker does not answer", done.tail())
        time.sleep(1)


def information(template: str) -> str:
    """One value of `docker info`."""
    return require(
        "DockerUnavailable", "Docker does not answer", ["docker", "info", "--format", template]
    ).strip()


def has_image(name: str) -> bool:
    """Whether Docker has an image."""
    return run(["docker", "image", "inspect", name]).succeeded
