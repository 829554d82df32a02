"""Making a host the node that the operator's computer wants: the specification and its agent become files here.

Every step can be cut off anywhere and done again; the agent hears of a specification last, when all it needs is there.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
from pathlib import Path
from typing import Iterator

from agent import (
    limits,
)
from agent.data import (
    data_services,
)
from agent.delivery import (
    incoming,
)
from agent.failures import Failure
from agent.machine import (
    docker,
    unit,
)
from agent.machine.commands import require as require_command
from agent.machine.commands import run
from agent.machine.files import write_private
from agent.node import HOME
from agent.own_archive import OwnArchive, require, write
from agent.phases import (
    release,
    secrets,
    tunnel,
)
from agent.sites import (
    host_secret,
    store,
)
from agent.sites.delivered import AGENT, WANTED
from agent.specification import HostPlace, Specification, read

LOCK = Path("/run/graphistry-cluster.lock")


def deliver(content: bytes, archive: Path | None) -> str:
    """Have the node be what *content* says, with the release in *archive* where one is given; one line about it."""
    specification = read(content)
    if not isinstance(specification.place, HostPlace):
        raise Failure("SpecificationInvalid", "it is not of a host")
    own = OwnArchive()
    if own.sha256 != specification.agent_sha256:
        require(own.path.read_bytes(), specification)
    with lock():
        _require_same_cluster(specification)
        data_services.require_same(specification)
        is_first = not WANTED.exists()
        HOME.mkdir(parents=True, exist_ok=True)
        HOME.chmod(0o700)
        is_new_agent = write(AGENT, own.path.read_bytes())
        store.ensure()
        if specification.is_leader and host_secret.read() is None:
            host_secret.create(json.dumps(secrets.generate(), sort_keys=True))
        if specification.is_leader:
            host_secret.complete()
        _prepare_data_services(specification)
        _take_release(specification, archive)
        is_new_unit = unit.write(AGENT, ["hosts"])
        is_new = write_private(WANTED, content.decode())
        if is_new_agent or is_new_unit:
            unit.restart()
        elif unit.state() != "active":
            run(["systemctl", "reset-failed", unit.UNIT_NAME])
            words = ["systemctl", "start", "--no-block", unit.UNIT_NAME]
            require_command("AgentInstallFailed", "systemd does not start the agent", words)
    what = "another agent" if is_new_agent else "another specification" if is_new else "no change"
    if is_first:
        what = "agent and specification, its first"
    return f"{specification.node}: {what} ({specification.digest[:12]})"


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """One at a time: another `deliver` or `remove` is waited for, and not for ever."""
    end = time.monotonic() + limits.DELIVER
    said = False
    with LOCK.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not said:
                    print("waiting: another delivery to this host is at work", flush=True)
                    said = True
                if time.monotonic() > end:
                    raise Failure(
                        "DeliveryBusy", f"another one has not ended within {limits.DELIVER:g} s"
                    ) from None
            time.sleep(0.2)
        yield


def _require_same_cluster(specification: Specification) -> None:
    """Raises Failure HostTaken where this host is already a node of another cluster."""
    try:
        present = json.loads(WANTED.read_bytes())["cluster"]
    except (OSError, ValueError, LookupError, TypeError):
        return
    if present != specification.cluster:
        raise Failure(
            "HostTaken",
            f"this host is a node of cluster {present}, not of {specification.cluster};"
            " nothing was changed on it",
        )


def _prepare_data_services(specification: Specification) -> None:
    """Before the program makes a leader's containers: their passwords, and a Docker that restarts no more for its
    settings, which the agent's preflight would change while they are made."""
    if specification.is_leader and specification.data_services == "containers":
        host_secret.prepare_data_services()
        tunnel.bring_up(specification)  # on whose address they publish their ports
        docker.prepare()


def _take_release(specification: Specification, archive: Path | None) -> None:
    """Put a delivered release where the agent finds it, now and whenever its images are lost."""
    incoming.keep_only(specification.release_sha256 if archive else None)
    if archive is None or specification.release_sha256 is None:
        return
    if archive.exists():
        incoming.take(archive, specification.release_sha256)
    elif not (
        incoming.place(specification.release_sha256).exists() or release.is_complete(specification)
    ):
        raise Failure("ReleaseUnavailable", f"{archive} is not there, and was not before")
