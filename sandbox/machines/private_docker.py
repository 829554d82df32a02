"""A Docker of the sandbox's own: its processes, its networks and its disks end with the sandbox.

It runs in a network namespace of its own, so two sandboxes with the same addresses, and the
computer's own network, do not meet. Its sockets are in /run, because the path of a socket is
limited to 107 characters; everything else is in the sandbox's directory.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import docker
import docker.errors

from . import namespace
from .commands import MachineError
from .leftovers import STOP_SECONDS, PrivateDocker, clean

START_SECONDS = 30
"""Longest wait for the daemon to answer; half a second is usual."""
_PAUSE_SECONDS = 0.05


def start(place: PrivateDocker) -> subprocess.Popen[bytes]:
    """Run the daemon until this thread's process ends. Raises MachineError.

    Nothing may be left of an earlier one: see `leftovers.clean`.
    Call it from the main thread: the kernel ends the daemon when the thread that started it ends.
    """
    place.data.mkdir(parents=True, exist_ok=True)
    place.sockets.mkdir(mode=0o700)
    settings = place.sockets / "daemon.json"  # or it would read the system's own
    settings.write_text("{}")
    namespace.create(place.namespace)
    command = [
        "setpriv",
        "--pdeathsig",
        "TERM",
        "nsenter",
        f"--net={namespace.path(place.namespace)}",
    ]
    command += ["dockerd", "-H", place.host, "--data-root", str(place.data)]
    command += ["--exec-root", str(place.sockets), "--pidfile", str(place.sockets / "pid")]
    command += ["--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-masq=false"]
    command += ["--cgroup-parent", f"/{place.cgroup}", "--shutdown-timeout", "3"]
    command += ["--exec-opt", "native.cgroupdriver=cgroupfs", "--config-file", str(settings)]
    log = place.directory / "docker.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(docker.errors.DockerException, OSError):
            client = connect(place.host)
            client.networks.prune()  # of an earlier run; their addresses would not be free
            client.close()
            return process
        time.sleep(_PAUSE_SECONDS)
    process.kill()
    clean(place)
    lines = log.read_text(errors="replace").strip().splitlines()
    raise MachineError(f"dockerd did not start: {lines[-1] if lines else ''} (see {log})")


def connect(host: str) -> Any:
    """A client of a Docker that answers, for use by several threads."""
    return docker.DockerClient(base_url=host, timeout=120, max_pool_size=32)


def connect_inside(host: str, machine: str) -> Any:
    """A client of the Docker of a machine in the Docker at `host`, by its socket as this computer sees it."""
    client = connect(host)
    process = client.api.inspect_container(machine)["State"]["Pid"]
    client.close()
    return connect(f"unix:///proc/{process}/root/run/docker.sock")


def stop(place: PrivateDocker, process: subprocess.Popen[bytes]) -> None:
    """Remove every container and volume, end the daemon, leave nothing but the images."""
    with contextlib.suppress(docker.errors.DockerException, OSError):
        client = connect(place.host)
        found = [container["Id"] for container in client.api.containers(all=True)]
        with ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(lambda each: _remove(client, each), found))
        for volume in client.volumes.list():
            volume.remove(force=True)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    clean(place)
    if process.poll() is None:
        process.kill()
    process.wait()


def _remove(client: Any, container: str) -> None:
    with contextlib.suppress(docker.errors.APIError):
        client.api.remove_container(container, force=True, v=True)
