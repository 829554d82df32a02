"""Boots the hosts that are wanted, keeps them and their ways in, and ends the others.

Like the loop it is part of, it compares and changes what differs.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import docker.errors
import docker.types

from . import container, forward, hosts
from .attempts import Attempts
from .commands import MachineError
from .container import Surroundings
from .host_container import boot, describe
from .hosts import LABEL, HostMachine

SSH_PORT = 22


@dataclass
class HostsKeeper:
    """What the hosts of one sandbox have on this computer."""

    namespace: str
    around: Surroundings
    attempts: Attempts
    wanted: dict[str, tuple[str, HostMachine]] = field(default_factory=dict)
    """Container -> stack and machine."""
    forwards: dict[str, tuple[int, Callable[[], None]]] = field(default_factory=dict)
    """Container -> port of the loopback that leads to its SSH, and how to end that."""
    networks: set[str] = field(default_factory=set)
    """Their blocks."""
    said: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What `hosts.reach` can read of each container."""


def keep(keeper: HostsKeeper, pool: ThreadPoolExecutor) -> None:
    """Make what runs what is wanted; a list that cannot be read leaves the last one in force."""
    keeper.attempts.one("the wanted hosts", _read, keeper)
    if not (keeper.wanted or keeper.networks or _folders(keeper)):
        return
    found = keeper.around.client.api.containers(all=True, filters={"label": LABEL})
    machines = {each["Names"][0].lstrip("/"): each for each in found}
    known = {*machines, *keeper.forwards, *_folders(keeper)}
    gone = [name for name in known if not _is_the_same(keeper, name, machines.get(name))]
    keeper.attempts.each(pool, gone, lambda name: _end(keeper, name), str)
    _networks(keeper)
    keeper.attempts.each(
        pool,
        keeper.wanted,
        lambda name: _keep(keeper, name, machines.get(name) if name not in gone else None),
        str,
    )
    _tell(keeper)


def end(keeper: HostsKeeper) -> None:
    """End the ways in; the machines end with the Docker."""
    for name in list(keeper.forwards):
        keeper.forwards.pop(name)[1]()
    hosts.forget(keeper.around.sandbox)


def _folders(keeper: HostsKeeper) -> list[str]:
    """The machines that were described, be it that none could be made."""
    return [each.name for each in keeper.around.directory.glob("host-*")]


def _read(keeper: HostsKeeper) -> None:
    stacks = hosts.wanted(keeper.around.sandbox)
    keeper.wanted = {
        hosts.container(stack, machine.name): (stack, machine)
        for stack in stacks
        for machine in stacks[stack]
    }


def _is_the_same(keeper: HostsKeeper, name: str, present: Mapping[str, Any] | None) -> bool:
    """Whether a machine is still wanted as it is: with another address it is another machine."""
    if name not in keeper.wanted:
        return False
    description = _description(keeper.wanted[name][1])
    return present is None or present["Labels"]["description"] == description


def _keep(keeper: HostsKeeper, name: str, present: Mapping[str, Any] | None) -> None:
    stack, machine = keeper.wanted[name]
    block = hosts.block(machine.address)
    describe(keeper.around, stack, machine)
    if present is None:
        if block not in keeper.networks:
            why = keeper.attempts.failed.get(block, f"{block} has no network yet")
            raise MachineError(why)
        logging.info("%s starts at %s", name, machine.address)
        labels = {LABEL: name, "description": _description(machine)}
        boot(keeper.around, stack, machine, _network_name(block), labels)
    elif present["State"] in ("exited", "dead", "created"):
        logging.info("%s starts again", name)
        keeper.around.client.api.start(name)
    if name not in keeper.forwards:
        keeper.forwards[name] = forward.start(keeper.namespace, machine.address, SSH_PORT)


def _description(machine: HostMachine) -> str:
    return json.dumps([machine.address, *machine.exports])


def _end(keeper: HostsKeeper, name: str) -> None:
    """End a machine and all that it has written."""
    logging.info("%s ends", name)
    container.remove(keeper.around, name)
    if name in keeper.forwards:
        keeper.forwards.pop(name)[1]()
    container.forget(keeper.around, name)


def _network_name(block: str) -> str:
    return f"hosts-{block.partition('/')[0]}"


def _networks(keeper: HostsKeeper) -> None:
    needed = {hosts.block(machine.address) for _, machine in keeper.wanted.values()}
    for block in sorted(keeper.networks - needed):
        keeper.attempts.one(block, _remove_network, keeper, block)
    for block in sorted(needed - keeper.networks):
        keeper.attempts.one(block, _network, keeper, block)


def _network(keeper: HostsKeeper, block: str) -> None:
    """A network that is routed to the other networks of hosts, as in a data center, and no further."""
    gateway = container.gateway(block)
    pool = docker.types.IPAMPool(subnet=block, gateway=gateway)
    addresses = docker.types.IPAMConfig(pool_configs=[pool])
    try:
        keeper.around.client.api.create_network(
            _network_name(block), driver="bridge", ipam=addresses
        )
    except docker.errors.APIError as error:
        raise MachineError(
            f"the network {block} of hosts cannot be made: {error.explanation}; it must not overlap"
            " a VPC of the sandbox"
        ) from error
    keeper.networks.add(block)


def _remove_network(keeper: HostsKeeper, block: str) -> None:
    keeper.around.client.api.remove_network(_network_name(block))
    keeper.networks.discard(block)


def _tell(keeper: HostsKeeper) -> None:
    """Say where each machine takes SSH, or why it cannot be had."""
    said: dict[str, dict[str, Any]] = {}
    for name in keeper.wanted:
        if name in keeper.forwards:
            said[name] = {"port": keeper.forwards[name][0]}
        if problem := keeper.attempts.failed.get(name):
            said.setdefault(name, {})["problem"] = problem
    if said != keeper.said:
        hosts.say_reached(keeper.around.sandbox, said)
        keeper.said = said
