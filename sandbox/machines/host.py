"""The machines of one sandbox: its Docker, its networks, and the loop that keeps both up to date.

The loop compares what the API says with what runs, and changes what differs; it remembers nothing
that it could not find out again, so an error in one round is mended by the next.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker.errors
import docker.types

from ..provider import moto_gaps
from ..provider.aws import Aws
from . import (
    console,
    container,
    disks,
    file_server,
    firewall,
    gateway,
    image,
    inventory,
    private_docker,
    run_command,
)
from .commands import MachineError
from .container import Surroundings
from .inventory import FileServer, Inventory, Machine
from .leftovers import PrivateDocker

PAUSE_SECONDS = 0.5
"""Between two rounds."""
IMAGE_PAUSE_SECONDS = 5
"""Before another attempt at the image."""
AT_ONCE = 4
"""Machines that are changed at the same time."""
END_SECONDS = 20
"""Longest wait for a round to end before everything is removed under it."""
EXPECTED = (MachineError, docker.errors.DockerException, OSError)
"""What can go wrong with one machine and must not end the loop."""


@dataclass
class Host:
    """What one sandbox runs its machines with."""

    place: PrivateDocker
    process: subprocess.Popen[bytes]
    around: Surroundings
    aws: Any
    """The API's WSGI application."""
    endpoint: str
    archive: Path
    """Of the image's base."""
    stopped: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None
    seen: Inventory | None = None
    """What the present round is about."""
    served: dict[str, Callable[[], None]] = field(default_factory=dict)
    """Network -> how to end what serves it."""
    applied: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Container -> process and rule set."""
    shown: dict[str, tuple[int, disks.Disks]] = field(default_factory=dict)
    """Container -> process and disks."""
    failed: dict[str, str] = field(default_factory=dict)
    """What was last said about a machine or a network, so that it is said once."""


def start(sandbox: Path, archive: Path, aws: Any, endpoint: str) -> Host:
    """Start the Docker, and in the background the machines. Raises MachineError.

    Call it from the main thread, whose end is the Docker's end.
    """
    directory = sandbox / "machines"
    directory.mkdir(parents=True, exist_ok=True)
    _forget_past(directory)
    place = PrivateDocker(directory)
    process = private_docker.start(place)
    client = private_docker.connect(place.host)
    port = int(endpoint.rpartition(":")[2])
    around = Surroundings(client, sandbox, directory, place.cgroup, port)
    host = Host(place, process, around, aws, endpoint, archive)
    run_command.mend(run_command.execute_in(client), run_command.reachable_in(client))
    console.mend(lambda machine: container.said(around, machine))
    host.thread = threading.Thread(target=_run, args=(host,), daemon=True)
    host.thread.start()
    return host


def stop(host: Host) -> None:
    """End all machines and the Docker, and leave no trace of them outside of the directory."""
    host.stopped.set()
    if host.thread is not None:
        host.thread.join(END_SECONDS)
    private_docker.stop(host.place, host.process)


def _forget_past(directory: Path) -> None:
    """Remove what belongs to the machines of an earlier AWS, and keep the images."""
    shutil.rmtree(directory / "volumes", ignore_errors=True)
    for machine in directory.glob("i-*"):
        shutil.rmtree(machine, ignore_errors=True)


def _run(host: Host) -> None:
    began = time.monotonic()
    while not host.stopped.is_set() and not _attempt(host, "the machines' image", _prepare, host):
        host.stopped.wait(IMAGE_PAUSE_SECONDS)
    logging.info("the machines' image is ready after %.1f s", time.monotonic() - began)
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        while not host.stopped.is_set():
            _attempt(host, "the machines", _round, host, pool)
            host.stopped.wait(PAUSE_SECONDS)


def _prepare(host: Host) -> None:
    file_server.make_key(host.around.directory)
    image.load(host.around.client, host.archive, host.around.directory)


def _round(host: Host, pool: ThreadPoolExecutor) -> None:
    """Make what runs what the API says."""
    host.seen = now = inventory.read()
    present = {
        each["Names"][0].lstrip("/"): str(each["State"])
        for each in host.around.client.api.containers(all=True)
    }
    everybody: dict[str, Machine | FileServer] = {**now.machines, **now.file_servers}
    gone = [name for name in present if name not in everybody]
    _each(host, pool, gone, lambda name: _remove(host, name), lambda name: name)
    _forget(host, now, present)
    _networks(host, now, {each.vpc for each in everybody.values()})
    _each(
        host,
        pool,
        everybody.values(),
        lambda each: _tend(host, now, each, present.get(each.identifier)),
        lambda each: each.identifier,
    )


def _each(
    host: Host,
    pool: ThreadPoolExecutor,
    items: Iterable[Any],
    act: Callable[[Any], None],
    name: Callable[[Any], str],
) -> None:
    """Do something for every item at the same time, whatever happens to the others."""
    list(pool.map(lambda item: _attempt(host, name(item), act, item), items))


def _attempt(host: Host, name: str, act: Callable[..., None], *arguments: Any) -> bool:
    """Do something and record what goes wrong; whether it went well."""
    try:
        act(*arguments)
    except EXPECTED as error:
        _say(host, name, _words(error))
        return False
    except Exception as error:  # a defect of ours: the loop goes on, its log tells where
        _say(host, name, "".join(traceback.format_exception(error)))
        return False
    host.failed.pop(name, None)
    return True


def _words(error: BaseException) -> str:
    return str(getattr(error, "explanation", None) or error)


def _say(host: Host, name: str, words: str) -> None:
    if host.failed.get(name) == words or host.stopped.is_set():
        return
    host.failed[name] = words
    logging.warning("%s: %s", name, words)
    container.append_to_console(host.around, name, f"sandbox: {words}\n")


def _tend(host: Host, now: Inventory, item: Machine | FileServer, state: str | None) -> None:
    if host.stopped.is_set():
        return
    if isinstance(item, Machine):
        if _keep(host, now, item, state):
            _surround(host, now, item)
        return
    if state is None:
        file_server.create(host.around, item)
    _surround(host, now, item)


def _keep(host: Host, now: Inventory, machine: Machine, state: str | None) -> bool:
    """Make the container of a machine what the API says; whether it shall run."""
    dead = state in ("exited", "dead")
    if machine.scaling_group and (dead or not machine.healthy):
        _replace(host, machine)
        return False
    container.describe(host.around, machine)
    if not machine.running:
        if state == "running":
            host.around.client.api.stop(machine.identifier, timeout=container.STOP_SECONDS)
        disks.discard(disks.local_file(host.around.directory, machine.identifier))
        return False
    if state is None:
        if machine.vpc not in host.served:
            raise MachineError(host.failed.get(machine.vpc, f"{machine.vpc} has no network yet"))
        logging.info("%s (%s) starts", machine.identifier, machine.name)
        container.create(host.around, machine, now.blocks[machine.vpc])
    elif dead or state == "created":
        logging.info("%s (%s) starts again", machine.identifier, machine.name)
        host.around.client.api.start(machine.identifier)
    return True


def _replace(host: Host, machine: Machine) -> None:
    """Terminate a machine of a group, which then launches another."""
    logging.info("%s (%s) is replaced by its group", machine.identifier, machine.name)
    aws = Aws(host.endpoint, machine.region)
    leftovers = moto_gaps.belongings(aws, [machine.identifier])
    aws.call("ec2.terminate_instances", InstanceIds=[machine.identifier])
    moto_gaps.discard(aws, *leftovers)
    moto_gaps.discard_shadow_volumes(aws)


def _remove(host: Host, name: str) -> None:
    logging.info("%s ends", name)
    container.remove(host.around, name)
    disks.discard(disks.local_file(host.around.directory, name))
    host.applied.pop(name, None)
    host.shown.pop(name, None)


def _forget(host: Host, now: Inventory, present: Mapping[str, str]) -> None:
    """Remove the bytes of volumes and file systems that the API has no more."""
    for file in (host.around.directory / "volumes").glob("vol-*.img"):
        if file.stem not in now.volumes:
            disks.discard(file)
    if any(name.startswith("fsmt-") and name not in now.file_servers for name in present):
        for volume in host.around.client.volumes.list():
            if volume.name.startswith("fs-") and volume.name not in now.file_systems:
                volume.remove(force=True)


def _surround(host: Host, now: Inventory, item: Machine | FileServer) -> None:
    """Rules and disks, which the kernel forgets whenever a container starts again."""
    state = host.around.client.api.inspect_container(item.identifier)["State"]
    process = int(state["Pid"])
    if not process or state["Restarting"]:
        return
    rules = firewall.ruleset(
        [rule for group in item.groups for rule in now.ingress.get(group, ())],
        [rule for group in item.groups for rule in now.egress.get(group, ())],
        container.gateway(now.blocks[item.vpc]),
    )
    if host.applied.get(item.identifier) != (process, rules):
        firewall.apply(process, rules)
        host.applied[item.identifier] = (process, rules)
    if isinstance(item, FileServer):
        return
    wanted = disks.wanted(host.around.directory, item)
    before = host.shown.get(item.identifier, (0, {}))
    if before == (process, wanted):
        return
    nodes = {name: disks.attach(*wanted[name]) for name in wanted}
    disks.show(host.around.client, item.identifier, nodes)
    host.shown[item.identifier] = (process, wanted)
    in_use = {volume.identifier for each in now.machines.values() for volume in each.volumes}
    for name in before[1].keys() - wanted.keys():
        file, _ = before[1][name]
        if file.stem not in in_use:  # another machine may have got it in the same round
            disks.detach(file)


def _networks(host: Host, now: Inventory, needed: set[str]) -> None:
    """A network for every VPC in which something runs, with AWS at its first address."""
    client = host.around.client
    for vpc in [each for each in host.served if each not in now.blocks]:
        host.served[vpc]()
        client.api.remove_network(vpc)
        del host.served[vpc]
    for vpc in sorted(needed - host.served.keys()):
        _attempt(host, vpc, _network, host, vpc, now.blocks[vpc])


def _network(host: Host, vpc: str, block: str) -> None:
    client, address = host.around.client, container.gateway(block)
    pool = docker.types.IPAMPool(subnet=block, gateway=address)
    addresses = docker.types.IPAMConfig(pool_configs=[pool])
    try:
        client.api.create_network(vpc, driver="bridge", internal=True, ipam=addresses)
    except docker.errors.APIError as error:
        raise MachineError(
            f"the network of {vpc} ({block}) cannot be made: {_words(error)}; two VPCs of one"
            " sandbox need different blocks"
        ) from error
    services = (host.aws, host.around.aws_port)
    try:
        host.served[vpc] = gateway.serve(
            host.place.namespace, address, vpc, services, lambda: host.seen or inventory.read()
        )
    except OSError:
        client.api.remove_network(vpc)
        raise
