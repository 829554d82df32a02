"""The services as systemd units of the machine: what runs, and starting and stopping it."""

import fcntl
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import ADDRESSES, BANNER, SERVICES, STATE

UNITS = Path("/run/systemd/system")
DOCKER_SETTINGS = Path("/run/graphistry-standin-docker.json")
"""What the stand-in Docker was started with; missing while it is stopped."""
VOLUMES = "volumes"
_PROPERTIES = (
    "Id,ActiveState,SubState,MainPID,ExecMainCode,ExecMainStatus,ExecMainStartTimestampMonotonic"
)
_KILLED = ("2", "3")  # CLD_KILLED and CLD_DUMPED: the status is a signal's number


@dataclass(frozen=True)
class State:
    """One service that `up` has made."""

    service: str
    state: str
    """running, restarting or exited."""
    exit_code: int
    pid: int
    started: float
    """Seconds of the monotonic clock."""


def unit(service: str) -> str:
    """The systemd unit of a service."""
    return f"graphistry-standin-{service}.service"


def docker_settings() -> dict[str, Any]:
    """What Docker runs with. Raises ValueError, in Docker's words, where it does not run."""
    try:
        found: dict[str, Any] = json.loads(DOCKER_SETTINGS.read_text())
    except OSError as error:
        raise ValueError(
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker"
            " daemon running?"
        ) from error
    return found


def docker_root() -> Path:
    """Where Docker keeps images and named volumes."""
    return Path(docker_settings().get("data-root", "/var/lib/docker"))


def missing_images(project: Mapping[str, Any], services: list[str]) -> list[str]:
    """The images of these services that Docker has not loaded."""
    try:
        loaded = json.loads((docker_root() / "images.json").read_text())
    except OSError:
        loaded = {}
    wanted = (project["services"][name]["image"] for name in services)
    return sorted({image for image in wanted if image not in loaded})


def states() -> dict[str, State]:
    """Every service that `up` has made and `down` has not taken away."""
    made = [name for name in SERVICES if (STATE / f"{name}.json").exists()]
    if not made:
        return {}
    shown = _systemctl("show", f"--property={_PROPERTIES}", *map(unit, made))
    found = {}
    for block in shown.strip().split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines())
        state = _state(values)
        found[state.service] = state
    return {name: found[name] for name in made}


def _state(values: Mapping[str, str]) -> State:
    active, status = values["ActiveState"], int(values["ExecMainStatus"])
    if values["SubState"] == "auto-restart":
        state = "restarting"
    elif active in ("active", "activating", "deactivating", "reloading"):
        state = "running"
    else:
        state = "exited"
    return State(
        service=values["Id"].removeprefix("graphistry-standin-").removesuffix(".service"),
        state=state,
        exit_code=status + (128 if values["ExecMainCode"] in _KILLED else 0),
        pid=int(values["MainPID"]),
        started=int(values["ExecMainStartTimestampMonotonic"]) / 1e6,
    )


def recorded(service: str) -> dict[str, Any]:
    """The merged configuration that a service was started with; {} where it never was."""
    try:
        found: dict[str, Any] = json.loads((STATE / f"{service}.json").read_text())
    except OSError:
        return {}
    return found


@contextmanager
def exclusively() -> Iterator[None]:
    """One command at a time changes what runs."""
    STATE.mkdir(mode=0o700, exist_ok=True)
    with (STATE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def start(release: Path, project: Mapping[str, Any], services: list[str], force: bool) -> list[str]:
    """Start these services, anew where their configuration changed; return those that were started."""
    names = [f"{ADDRESSES[name]} {name}" for name in SERVICES if name in project["services"]]
    host = "\n".join([f"# {BANNER}", *Path("/etc/hosts").read_text().splitlines(), *names, ""])
    _replace(STATE / "hosts", host)
    running = {name for name, state in states().items() if state.state == "running"}
    has_gpu = docker_settings().get("default-runtime") == "nvidia"
    started, reload = [], False
    for name in services:
        config = _with_volumes(project["services"][name])
        config["standin"] = {"release": str(release), "gpu": has_gpu}
        text = json.dumps(config, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        if recorded(name).get("hash") == digest and name in running and not force:
            continue
        _replace(STATE / f"{name}.json", json.dumps({"hash": digest, **config}))
        reload |= _replace(UNITS / unit(name), _unit(name, release, config))
        started.append(name)
    if reload:
        _systemctl("daemon-reload")
    if started:
        _systemctl("restart", *map(unit, started))
    return started


def restart(services: list[str]) -> None:
    """Start services again with the configuration that they had."""
    _systemctl("restart", *map(unit, services))


def stop(services: list[str]) -> None:
    """Stop services; they stay known as exited."""
    if services:
        _systemctl("stop", *map(unit, services))


def remove(services: list[str], with_data: bool) -> None:
    """Stop and forget services, and with them PostgreSQL's data if so wished."""
    stop(services)
    for name in services:
        volumes = recorded(name).get(VOLUMES, [])
        if with_data and name == "postgres":
            for volume in volumes:
                for child in Path(volume["source"]).iterdir():
                    shutil.rmtree(child) if child.is_dir() else child.unlink()
        for path in (STATE / f"{name}.json", STATE / f"{name}.started", UNITS / unit(name)):
            path.unlink(missing_ok=True)
    _systemctl("daemon-reload")


def _with_volumes(service: Mapping[str, Any]) -> dict[str, Any]:
    """A service whose volumes are folders of the machine: missing ones are made, as Docker does."""
    volumes = []
    for volume in service.get(VOLUMES, []):
        source = volume["source"]
        if volume["type"] == "volume":
            source = str(docker_root() / VOLUMES / source / "_data")
        if not Path(source).exists():
            Path(source).mkdir(parents=True)
        volumes.append({**volume, "source": source})
    return {**service, VOLUMES: volumes}


def _unit(service: str, release: Path, config: Mapping[str, Any]) -> str:
    lines = [
        "[Unit]",
        f"Description=Graphistry's {service}, a {BANNER}",
        "StartLimitIntervalSec=0",
        *(f"After={unit(name)}" for name in config.get("depends_on", ())),
        "[Service]",
        "Type=exec",
        f"ExecStart=/usr/bin/python3 -m standin {service}",
        f"WorkingDirectory={release}",
        f"SyslogIdentifier={service}",
        "Restart=always",
        "RestartSec=2",
        "TimeoutStopSec=10",
        f"BindReadOnlyPaths={STATE}/hosts:/etc/hosts",
    ]
    if service == "postgres":  # "fast" shutdown, which does not wait for clients
        lines += ["KillSignal=SIGINT", "KillMode=mixed"]
    for volume in config[VOLUMES]:
        kind = "BindReadOnlyPaths" if volume.get("read_only") else "BindPaths"
        lines.append(f"{kind}={volume['source']}:{volume['target']}")
    if config[VOLUMES]:
        # As in a container: a folder mounted anew on the machine is not seen until a restart.
        lines.append("MountFlags=private")
    return "\n".join([*lines, ""])


def _replace(path: Path, text: str) -> bool:
    """Write a file that only root reads at once; False where it says so already."""
    if path.exists() and path.read_text() == text:
        return False
    draft = path.with_name(f".{path.name}.new")
    draft.touch(mode=0o600)
    draft.write_text(text)
    if path.parent == UNITS or path.name == "hosts":
        draft.chmod(0o644)
    draft.replace(path)
    return True


def _systemctl(*arguments: str) -> str:
    done = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"systemctl {arguments[0]}: {done.stderr.strip()}")
    return done.stdout
