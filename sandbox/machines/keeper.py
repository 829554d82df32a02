"""The machines of one sandbox: its Docker, its networks, and the loop that keeps both up to date.

The loop compares what the API says, and which hosts are wanted, with what runs, and changes what
differs; it remembers nothing that it could not find out again, so an error in one round is mended by
the next.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker.errors
import docker.types

from ..provider import moto_gaps
from ..provider.aws import Aws
from ..release.base_image import base_archive
from . import (
    console,
    container,
    disks,
    docker_data,
    docker_disk,
    file_server,
    firewall,
    gateway,
    hosts,
    hosts_keeper,
    image,
    inventory,
    private_docker,
    run_command,
)
from .attempts import Attempts, words
from .commands import MachineError
from .container import Surroundings
from .hosts_keeper import HostsKeeper
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


@dataclass
class Keeper:
    """What one sandbox runs its machines with."""

    place: PrivateDocker
    process: subprocess.Popen[bytes]
    around: Surroundings
    aws: Any
    """The API's WSGI application."""
    endpoint: str
    archive: Path
    """Of the image's base."""
    attempts: Attempts
    hosts: HostsKeeper
    thread: threading.Thread | None = None
    seen: Inventory | None = None
    """What the present round is about."""
    served: dict[str, Callable[[], None]] = field(default_factory=dict)
    """Network -> how to end what serves it."""
    applied: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Container -> process and rule set."""
    shown: dict[str, tuple[int, disks.Disks]] = field(default_factory=dict)
    """Container -> process and disks."""


def start(sandbox: Path, archive: Path, aws: Any, endpoint: str) -> Keeper:
    """Start the Docker, and in the background the machines. Raises MachineError.

    Call it from the main thread, whose end is the Docker's end.
    """
    directory = sandbox / "machines"
    directory.mkdir(parents=True, exist_ok=True)
    _forget_past(directory)
    hosts.forget(sandbox)
    place = PrivateDocker(directory)
    docker_data.begin(place.data, archive)
    process = private_docker.start(place)
    gateway.redirect(place.namespace)
    client = private_docker.connect(place.host)
    port = int(endpoint.rpartition(":")[2])
    base = base_archive()
    template = docker_disk.template_file(archive, base)
    around = Surroundings(client, sandbox, directory, place.cgroup, port, template, base)
    attempts = Attempts(around, threading.Event())
    hosts_of_it = HostsKeeper(place.namespace, around, attempts)
    keeper = Keeper(place, process, around, aws, endpoint, archive, attempts, hosts_of_it)
    run_command.mend(run_command.execute_in(client), run_command.reachable_in(client))
    console.mend(lambda machine: container.said(around, machine))
    keeper.thread = threading.Thread(target=_run, args=(keeper,), daemon=True)
    keeper.thread.start()
    return keeper


def stop(keeper: Keeper) -> None:
    """End all machines and the Docker, and leave no trace of them outside of the directory."""
    keeper.attempts.stopped.set()
    if keeper.thread is not None:
        keeper.thread.join(END_SECONDS)
    hosts_keeper.end(keeper.hosts)
    private_docker.stop(keeper.place, keeper.process)
    docker_disk.discard_all(keeper.around.directory)


def _forget_past(directory: Path) -> None:
    """Remove what belongs to the machines of an earlier AWS, and keep the images."""
    shutil.rmtree(directory / "volumes", ignore_errors=True)
    docker_disk.discard_all(directory)
    for machine in directory.glob("i-*"):
        shutil.rmtree(machine, ignore_errors=True)


def _run(keeper: Keeper) -> None:
    began, attempts = time.monotonic(), keeper.attempts
    while not attempts.stopped.is_set():
        if attempts.one("the machines' image", _prepare, keeper):
            break
        attempts.stopped.wait(IMAGE_PAUSE_SECONDS)
    logging.info("the machines' image is ready after %.1f s", time.monotonic() - began)
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        while not attempts.stopped.is_set():
            attempts.one("the machines", _round, keeper, pool)
            attempts.one("the hosts", hosts_keeper.keep, keeper.hosts, pool)
            attempts.stopped.wait(PAUSE_SECONDS)


def _prepare(keeper: Keeper) -> None:
    file_server.make_key(keeper.around.directory)
    around = keeper.around
    image.load(around.client, keeper.archive, keeper.place.data)
    docker_disk.make_template(
        around.client, around.directory, around.docker_template, around.base_image
    )


def _round(keeper: Keeper, pool: ThreadPoolExecutor) -> None:
    """Make what runs what the API says."""
    keeper.seen = now = inventory.read()
    present = {
        each["Names"][0].lstrip("/"): str(each["State"])
        for each in keeper.around.client.api.containers(all=True)
        if hosts.LABEL not in each["Labels"]
    }
    everybody: dict[str, Machine | FileServer] = {**now.machines, **now.file_servers}
    gone = [name for name in present if name not in everybody]
    keeper.attempts.each(pool, gone, lambda name: _remove(keeper, name), lambda name: name)
    _forget(keeper, now, present)
    _networks(keeper, now, {each.vpc for each in everybody.values()})
    keeper.attempts.each(
        pool,
        everybody.values(),
        lambda each: _tend(keeper, now, each, present.get(each.identifier)),
        lambda each: each.identifier,
    )


def _tend(keeper: Keeper, now: Inventory, item: Machine | FileServer, state: str | None) -> None:
    if keeper.attempts.stopped.is_set():
        return
    if isinstance(item, Machine):
        if _keep(keeper, now, item, state):
            _surround(keeper, now, item)
        return
    if state is None:
        file_server.create(keeper.around, item)
    _surround(keeper, now, item)


def _keep(keeper: Keeper, now: Inventory, machine: Machine, state: str | None) -> bool:
    """Make the container of a machine what the API says; whether it shall run."""
    dead = state in ("exited", "dead")
    if machine.scaling_group and (dead or not machine.healthy):
        _replace(keeper, machine)
        return False
    container.describe(keeper.around, machine)
    if not machine.running:
        if state == "running":
            keeper.around.client.api.stop(machine.identifier, timeout=container.STOP_SECONDS)
        disks.discard(disks.local_file(keeper.around.directory, machine.identifier))
        return False
    if state is None:
        if machine.vpc not in keeper.served:
            why = keeper.attempts.failed.get(machine.vpc, f"{machine.vpc} has no network yet")
            raise MachineError(why)
        logging.info("%s (%s) starts", machine.identifier, machine.name)
        container.create(keeper.around, machine, now.blocks[machine.vpc])
    elif dead or state == "created":
        logging.info("%s (%s) starts again", machine.identifier, machine.name)
        keeper.around.client.api.start(machine.identifier)
    return True


def _replace(keeper: Keeper, machine: Machine) -> None:
    """Terminate a machine of a group, which then launches another."""
    logging.info("%s (%s) is replaced by its group", machine.identifier, machine.name)
    aws = Aws(keeper.endpoint, machine.region)
    leftovers = moto_gaps.belongings(aws, [machine.identifier])
    aws.call("ec2.terminate_instances", InstanceIds=[machine.identifier])
    moto_gaps.discard(aws, *leftovers)


def _remove(keeper: Keeper, name: str) -> None:
    logging.info("%s ends", name)
    container.remove(keeper.around, name)
    disks.discard(disks.local_file(keeper.around.directory, name))
    keeper.applied.pop(name, None)
    keeper.shown.pop(name, None)


def _forget(keeper: Keeper, now: Inventory, present: Mapping[str, str]) -> None:
    """Remove the bytes of volumes and file systems that the API has no more."""
    for file in (keeper.around.directory / "volumes").glob("vol-*.img"):
        if file.stem not in now.volumes:
            disks.discard(file)
    if any(name.startswith("fsmt-") and name not in now.file_servers for name in present):
        for volume in keeper.around.client.volumes.list():
            if volume.name.startswith("fs-") and volume.name not in now.file_systems:
                volume.remove(force=True)


def _surround(keeper: Keeper, now: Inventory, item: Machine | FileServer) -> None:
    """Rules and disks, which the kernel forgets whenever a container starts again."""
    state = keeper.around.client.api.inspect_container(item.identifier)["State"]
    process = int(state["Pid"])
    if not process or state["Restarting"]:
        return
    address = container.gateway(now.blocks[item.vpc])
    rules = firewall.ruleset(
        [rule for group in item.groups for rule in now.ingress.get(group, ())],
        [rule for group in item.groups for rule in now.egress.get(group, ())],
        address,
    )
    if keeper.applied.get(item.identifier) != (process, rules):
        firewall.apply(process, rules)
        firewall.lead_to_metadata(process, address)
        keeper.applied[item.identifier] = (process, rules)
    if isinstance(item, FileServer):
        return
    wanted = disks.wanted(keeper.around.directory, item)
    before = keeper.shown.get(item.identifier, (0, {}))
    if before == (process, wanted):
        return
    nodes = {name: disks.attach(*wanted[name]) for name in wanted}
    disks.show(keeper.around.client, item.identifier, nodes)
    keeper.shown[item.identifier] = (process, wanted)
    in_use = {volume.identifier for each in now.machines.values() for volume in each.volumes}
    for name in before[1].keys() - wanted.keys():
        file, _ = before[1][name]
        if file.stem not in in_use:  # another machine may have got it in the same round
            disks.detach(file)


def _networks(keeper: Keeper, now: Inventory, needed: set[str]) -> None:
    """A network for every VPC in which something runs, with AWS at its first address."""
    client = keeper.around.client
    for vpc in [each for each in keeper.served if each not in now.blocks]:
        keeper.served[vpc]()
        client.api.remove_network(vpc)
        del keeper.served[vpc]
    for vpc in sorted(needed - keeper.served.keys()):
        keeper.attempts.one(vpc, _network, keeper, vpc, now.blocks[vpc])


def _network(keeper: Keeper, vpc: str, block: str) -> None:
    client, address = keeper.around.client, container.gateway(block)
    pool = docker.types.IPAMPool(subnet=block, gateway=address)
    addresses = docker.types.IPAMConfig(pool_configs=[pool])
    try:
        client.api.create_network(vpc, driver="bridge", internal=True, ipam=addresses)
    except docker.errors.APIError as error:
        raise MachineError(
            f"the network of {vpc} ({block}) cannot be made: {words(error)}; two VPCs of one"
            " sandbox need different blocks"
        ) from error
    services = (keeper.aws, keeper.around.aws_port)
    try:
        keeper.served[vpc] = gateway.serve(
            keeper.place.namespace, address, vpc, services, lambda: keeper.seen or inventory.read()
        )
    except OSError:
        client.api.remove_network(vpc)
        raise
