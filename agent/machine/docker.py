"""Docker's own settings, changed where they are wrong and nowhere else."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
from pathlib import Path
from typing import Any, Callable, Dict

from agent.failures import Failure
from agent.machine import systemd
from agent.machine.commands import TAIL_LINES, require, run
from agent.machine.files import write_private

SETTINGS = Path("/etc/docker/daemon.json")
DOCKER = "/var/lib/docker"
CONTAINERD_SETTINGS = Path("/etc/containerd/config.toml")
CONTAINERD = "/var/lib/containerd"
LOG_OPTIONS = {"max-size": "100m", "max-file": "3"}
CGROUP_DRIVER = "native.cgroupdriver="
START_SECONDS = 60
JOURNAL = ["journalctl", "-u", "docker.service", "-n", str(TAIL_LINES), "--no-pager", "-o", "cat"]
Change = Callable[[Dict[str, Any]], Dict[str, Any]]
"""What Docker's settings should be, of what they are."""


def prepare() -> None:
    """Have a Docker that runs and gives GPUs to containers; it is restarted where its settings do not say so yet."""
    if shutil.which("docker") is None:
        raise Failure("DockerMissing", "there is no command `docker`")
    ensure_running()
    configure(with_gpus)


def with_gpus(settings: dict[str, Any]) -> dict[str, Any]:
    """*settings* with nvidia as default runtime, and logs that end somewhere unless somebody has chosen where they go.

    Whatever driver that is, Docker keeps a part that it can show itself (20.10 and newer).
    """
    runtimes = dict(settings.get("runtimes") or {})
    runtimes.setdefault("nvidia", {"path": "nvidia-container-runtime", "runtimeArgs": []})
    changed = {**settings, "default-runtime": "nvidia", "runtimes": runtimes}
    options = settings.get("exec-opts") or []
    if not any(each.startswith(CGROUP_DRIVER) for each in options):
        # With systemd's, whoever reloads systemd takes the GPUs from running containers (nvidia-container-toolkit, 48).
        changed["exec-opts"] = [*options, f"{CGROUP_DRIVER}cgroupfs"]
    is_usual = (settings.get("log-driver") or "json-file") == "json-file"
    if is_usual and not settings.get("log-opts"):
        changed.update({"log-driver": "json-file", "log-opts": LOG_OPTIONS})
    return changed


def configure(change: Change) -> bool:
    """Apply *change* to Docker's settings and restart it where that changes them.

    Where it does not restart with them, it gets the former ones back: raises Failure with its journal.
    """
    before = SETTINGS.read_text() if SETTINGS.exists() else None
    if differences(change):
        print(f"{SETTINGS} gets {', '.join(differences(change))}; Docker restarts", flush=True)
    if not write_settings(change):
        return False
    try:
        _restart()
    except Failure as failure:
        log = run(JOURNAL, seconds=30).output.splitlines()[-TAIL_LINES:] or failure.log
        if before is None:
            SETTINGS.unlink()
        else:
            write_private(SETTINGS, before, 0o644)
        with contextlib.suppress(Failure):
            _restart()
        raise Failure(
            failure.code,
            f"{failure.message} with what {SETTINGS} needs for GPUs; the file is as it was",
            log,
        ) from failure
    return True


def _restart() -> None:
    # systemd gives up on a unit that is restarted too often, which is not what happens here.
    run(["systemctl", "reset-failed", "docker.service", "docker.socket"])
    restarted = run(["systemctl", "restart", "docker.service"], seconds=120)
    if not restarted.succeeded:
        raise Failure("DockerUnavailable", "Docker does not restart", restarted.tail())
    ensure_running()


def differences(change: Change) -> list[str]:
    """What *change* would set in Docker's settings, `key: value` each; raises Failure DockerConfigInvalid."""
    settings = _settings()
    changed = change(settings)
    return [
        f"{key}: {json.dumps(value)}"
        for key, value in sorted(changed.items())
        if settings.get(key) != value
    ]


def write_settings(change: Change) -> bool:
    """Apply *change* to the settings that Docker reads when it starts; whether that changes them."""
    settings = _settings()
    changed = change(settings)
    if changed == settings:
        return False
    write_private(SETTINGS, json.dumps(changed, indent=2) + "\n", 0o644)
    return True


def _settings() -> dict[str, Any]:
    text = SETTINGS.read_text() if SETTINGS.exists() else "{}"
    try:
        settings = json.loads(text or "{}")
        if not isinstance(settings, dict):
            raise ValueError("not an object")
    except ValueError as error:
        raise Failure("DockerConfigInvalid", f"{SETTINGS}: {error}") from error
    return settings


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


def images_folder(status: Any, root: str) -> Path:
    """Where images go, of what `docker info` says: Docker's own folder, or containerd's where that keeps them.

    containerd's store is Docker's default since version 29, for installations that had no images before.
    """
    is_containerds = "io.containerd.snapshotter.v1" in str(status)
    return containerd_root() if is_containerds else Path(root or DOCKER)


def containerd_root() -> Path:
    """Where containerd keeps its data, by its settings; those of another form leave its default."""
    try:
        named = re.search(
            r"""^root\s*=\s*["']([^"']+)["']""", CONTAINERD_SETTINGS.read_text(), re.M
        )
    except OSError:
        named = None
    return Path(named.group(1) if named else CONTAINERD)


def has_image(name: str) -> bool:
    """Whether Docker has an image."""
    return run(["docker", "image", "inspect", name]).succeeded
