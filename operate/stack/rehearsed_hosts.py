"""A stack file of the `hosts` site, rehearsed: the sandbox boots a machine for each host, and SSH goes there instead.

Nothing else differs: private addresses, GPUs, shared folder and release are those of the file. The machines share this
computer's memory, so no profile is rehearsed with more than that, and worker counts may be lower.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import psutil

from model.problems import UserError
from model.settings.configuration import SECRET_ENV
from model.settings.hosts import FollowersOnHosts, HostsSettings
from model.settings.sections import Release
from model.settings.stack_keys import PROJECT
from operate.stack.rehearsed_secret import encrypted
from operate.stack.stack_file import PRIVATE_KEY
from operate.terminal.messages import say
from sandbox.lifecycle import find
from sandbox.machines import hosts, operator_key
from sandbox.machines.commands import MachineError
from sandbox.machines.files import write
from sandbox.machines.hosts import HostMachine, Reached

STAND_IN_GPU = "NVIDIA stand-in"
"""Model of every GPU in a rehearsal."""

FILE_SERVER = "file-server"
"""Name of the machine that stands in for an NFS server of the user's; no node may have it."""


STACK_FILE = "sandbox:stackFile"
"""Key of the rehearsed file with the keys of the user's, by which changes are told; the program reads none of it."""

_ENV = f"{PROJECT}:{SECRET_ENV}"
NOBODY = 1
"""A port of this computer where no machine is, in the place of one that is not booted."""


class Unlike(StrEnum):
    """How the machine of a node is not as the stack file has it; only `./cluster up` sees to it."""

    NOT_BOOTED = "its machine is not booted yet"
    OTHER_GPUS = "its machine has other GPUs than the stack file says"


@dataclass(frozen=True, kw_only=True)
class Pin:
    """The key by which the machine of a node is known: the first one, until a person takes another."""

    address: str
    """The machine's. At another address is another machine, whose key nobody has seen."""
    key: str


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """A stack file with the sandbox's machines in the place of the hosts."""

    config: dict[str, Any]
    """Its keys."""
    unlike: dict[str, Unlike]
    """Nodes whose machine is not as the stack file has it; none where the machines were booted."""


def rehearsed(
    config: dict[str, Any],
    settings: FollowersOnHosts,
    release: Release | None,
    sandbox: Path,
    stack: str,
    encryption_salt: str,
    *,
    boots: bool,
) -> Rehearsal:
    """The stack file as it is rehearsed. With *boots* its machines are booted; without, none is touched.

    A machine is the one that has an address. Those that the file names no more stay as they are, as hosts do, until the
    sandbox ends. One that is made has the *release* of the cluster unpacked on it where that is ``preinstalled``, which
    on hosts is its owner's work. Raises :class:`UserError` where there can be no machines.
    """
    try:
        before = hosts.wanted(sandbox).get(stack, ())
        machines = wanted_machines(settings, before, release)
        pins = {node: pin for node, pin in pinned(sandbox, stack).items() if node in settings.nodes}
        reached = (
            _booted(sandbox, stack, machines, before, pins)
            if boots
            else hosts.present(sandbox, stack)
        )
        signed_in = _signed_in(settings, sandbox, stack, encryption_salt)
    except MachineError as error:
        raise UserError(_cannot(stack, error)) from None
    by_address = {each.address: each for each in machines}
    wanted = {node: by_address[settings.private_address(node)] for node in settings.nodes}
    ways = {node: reached.get(machine.name) for node, machine in wanted.items()}
    for node, way in ways.items():
        address = wanted[node].address
        if way and not (node in pins and pins[node].address == address):
            pins[node] = Pin(address=address, key=way.host_key)
    if boots:
        _write_pins(sandbox, stack, pins)
    changed = {
        **copy.deepcopy(config),
        STACK_FILE: json.dumps(_without_secrets(config)),
        **signed_in,
    }
    for profile in changed[f"{PROJECT}:gpuProfiles"].values():
        profile["memoryGib"] = min(profile["memoryGib"], memory_gib())
    entries = {
        "leader": changed.get(f"{PROJECT}:leader", {}),
        **changed.get(f"{PROJECT}:followers", {}),
    }
    unlike = {}
    for node, way in ways.items():
        if way is None:
            unlike[node] = Unlike.NOT_BOOTED
        elif not boots and wanted[node] not in before:
            unlike[node] = Unlike.OTHER_GPUS
        entries[node]["host"] = {
            "address": "127.0.0.1",
            "port": way.port if way else NOBODY,
            "privateAddress": wanted[node].address,
            "hostKey": pins[node].key if way else settings.nodes[node].host.host_key,
        }
    return Rehearsal(config=changed, unlike=unlike)


def _without_secrets(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a stack file to be told: without the private key, and of secret variables the names."""
    told = {key: config[key] for key in config if key != PRIVATE_KEY}
    if told.get(_ENV):
        told[_ENV] = {name: {"secure": ""} for name in told[_ENV]}
    return told


def _signed_in(
    settings: FollowersOnHosts, sandbox: Path, stack: str, encryption_salt: str
) -> dict[str, Any]:
    """The keys by which the sandbox's machines are signed in to, in place of the user's own."""
    key, running = operator_key.private_key(sandbox), find(sandbox)
    user = {f"{PROJECT}:ssh": {"user": hosts.USER}}
    if not (isinstance(settings, HostsSettings) and settings.data_services.kind == "containers"):
        return {**user, PRIVATE_KEY: encrypted(key, encryption_salt)}
    # Docker's SSH takes its keys from the SSH agent, as everywhere; the sandbox has one of its own.
    if running is None or running.ssh_agent is None:
        raise UserError(
            f'the stack {stack} cannot be rehearsed: with dataServices.kind "containers" an SSH agent is needed; '
            "install OpenSSH's client (Debian, Ubuntu: apt install openssh-client), then `./cluster down` and again"
        )
    return user


def _booted(
    sandbox: Path,
    stack: str,
    machines: list[HostMachine],
    before: Collection[HostMachine],
    pins: Mapping[str, Pin],
) -> dict[str, Reached]:
    """The ways to the machines of a stack, once all take SSH that nobody has seen before."""
    there, wanted = ({each.address for each in some} for some in (before, machines))
    if wanted - there:
        say("booting a machine for each host of the stack")
    kept = _kept(machines, before)
    hosts.want(sandbox, stack, [*machines, *kept])
    names = {each.address: each.name for each in machines if each.address in there}
    known = {names[pin.address]: pin.key for pin in pins.values() if pin.address in names}
    # Nobody waits for a host that is a node no more.
    ways = hosts.present(sandbox, stack)
    known |= {each.name: ways[each.name].host_key for each in kept if each.name in ways}
    return hosts.reach(sandbox, stack, known=known)


def refuse_impossible(settings: FollowersOnHosts, sandbox: Path, stack: str) -> None:
    """Raise :class:`UserError` for hosts that the sandbox cannot have, as in two networks; touches none."""
    before = hosts.wanted(sandbox).get(stack, ())
    machines = wanted_machines(settings, before, None)
    try:
        hosts.check(sandbox, stack, [*machines, *_kept(machines, before)])
    except MachineError as error:
        raise UserError(_cannot(stack, error)) from None


def _kept(machines: Collection[HostMachine], before: Collection[HostMachine]) -> list[HostMachine]:
    """The machines that were there *before* and that no node has any more."""
    wanted = {each.address for each in machines}
    return [each for each in before if each.address not in wanted]


def _cannot(stack: str, why: MachineError) -> str:
    return f"the hosts of the stack {stack} cannot be rehearsed: {why}"


def memory_gib() -> int:
    """What every machine of the sandbox has, in GiB: this computer's memory, at least what a profile must have."""
    return max(8, int(psutil.virtual_memory().total / 2**30))


def wanted_machines(
    settings: FollowersOnHosts, before: Collection[HostMachine], release: Release | None
) -> list[HostMachine]:
    """A machine for each host, of the size that its GPU profile says; and the NFS server, if there is one.

    One that was there *before* keeps its name, whichever node it is now.
    """
    named = {each.address: each.name for each in before}
    is_unpacked = release is not None and release.source == "preinstalled"
    unpacked = f"{release.version}-{release.cuda}" if release and is_unpacked else ""

    def name_at(address: str, name: str) -> str:
        free = name if name not in named.values() else f"{name}-{address.replace('.', '-')}"
        return named.get(address, free)

    machines = []
    for node in settings.nodes:
        profile = settings.profile_of(node)
        address = settings.private_address(node)
        machines.append(
            HostMachine(
                name=name_at(address, node),
                address=address,
                gpus=profile.gpus,
                gpu_name=STAND_IN_GPU,  # a profile says how big a GPU is, and no more
                gpu_memory_mib=profile.gpu_memory_mib,
                release=unpacked,
            )
        )
    folder = settings.shared_folder if isinstance(settings, HostsSettings) else None
    if folder and folder.kind == "nfs" and folder.server and folder.export:
        machines.append(
            HostMachine(
                name=name_at(folder.server, FILE_SERVER),
                address=folder.server,
                gpus=0,
                gpu_name="",
                gpu_memory_mib=0,
                exports=(folder.export,),
            )
        )
    return machines


def pinned(sandbox: Path, stack: str) -> dict[str, Pin]:
    """How the machine of each node is known, for as long as this sandbox runs."""
    try:
        found = json.loads(_pinned(sandbox, stack).read_text())
        return {node: Pin(**pin) for node, pin in found.items()}
    except (OSError, ValueError, TypeError):
        return {}


def take_keys(sandbox: Path, stack: str, keys: Mapping[str, str]) -> None:
    """Know the machines of some nodes by other keys from now on, which a person has taken."""
    pins = pinned(sandbox, stack)
    taken = {node: replace(pin, key=keys[node]) for node, pin in pins.items() if node in keys}
    _write_pins(sandbox, stack, {**pins, **taken})


def _write_pins(sandbox: Path, stack: str, pins: Mapping[str, Pin]) -> None:
    file = _pinned(sandbox, stack)
    file.parent.mkdir(parents=True, exist_ok=True)
    write(file, {node: asdict(pin) for node, pin in pins.items()})


def _pinned(sandbox: Path, stack: str) -> Path:
    running = find(sandbox)
    identity = running.identity if running else "none"
    return sandbox / "host-keys" / identity / f"{stack}.json"
