"""Machines of the site `hosts`: bare Linux machines with SSH, there before and after any stack.

What other processes ask of them. Which machines a stack wants is a file that the sandbox's process
reads; it boots, keeps and removes them, and writes where each takes SSH (see `hosts_keeper`).
Docker's client is imported where it is used: every command of the operator imports this module.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import re
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .. import lifecycle
from .commands import MachineError
from .files import write

USER = "ubuntu"
"""Whom the operator's key lets in; may become root without a password."""
LABEL = "host"
"""Of every container that is no AWS machine: the container's own name."""
HOST_KEY = "ssh_host_ed25519_key"
"""In a machine's folder, so that it stays the same while the machine's container does not."""
PREFIX_LENGTH = 24
"""Of the networks of hosts."""
HOPELESS_SECONDS = 15
"""After which a machine that cannot be made is not waited for any longer."""
KNOWN_SECONDS = 5
"""After which a machine that was there once is one that does not answer, as any host may be."""
_PAUSE_SECONDS = 0.2
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


@dataclass(frozen=True)
class HostMachine:
    """A machine as its owner would describe it."""

    name: str
    address: str
    """IPv4; the machines of one stack are in one /24, whose first address is the network's own."""
    gpus: int
    gpu_name: str
    """As nvidia-smi shows it."""
    gpu_memory_mib: int
    exports: tuple[str, ...] = ()
    """Folders that it serves over NFS to its whole network, without being a node."""
    release: str = field(default="", compare=False)
    """The release that its owner has unpacked on it, as ``2.50.1-12``; empty: none. Read when it is made; what it has
    later is its own affair, so two that differ in nothing else are the same."""


@dataclass(frozen=True)
class Reached:
    """Where the SSH of a machine is, and by which key it is known."""

    port: int
    """On 127.0.0.1."""
    host_key: str
    """As `ssh-ed25519 AAAA...`."""


def want(sandbox: Path, stack: str, machines: Sequence[HostMachine]) -> None:
    """Say which machines a stack has, from now on until another call or the end of the sandbox.

    None ends them, disks and all. Raises MachineError where the description cannot be right.
    """
    sandbox.mkdir(parents=True, exist_ok=True)
    with _exclusively(sandbox):
        stacks = _of_others(sandbox, stack)
        _check(stack, machines, stacks)
        if machines:
            stacks[stack] = list(machines)
        content = {name: [asdict(each) for each in stacks[name]] for name in sorted(stacks)}
        write(_wanted_file(sandbox), content)


def check(sandbox: Path, stack: str, machines: Sequence[HostMachine]) -> None:
    """Whether a stack may have these machines; wants none of them. Raises MachineError as :func:`want` does."""
    _check(stack, machines, _of_others(sandbox, stack))


def reach(
    sandbox: Path, stack: str, seconds: float = 120, known: Mapping[str, str] | None = None
) -> dict[str, Reached]:
    """Where every machine of a stack takes SSH, by its name, as soon as all of them do.

    Those that are `known`, by name to host key, were there before: they may be away, and are then
    told as they were. Raises MachineError that names the others which take no SSH and why, after
    `seconds`, or sooner where waiting is of no use.
    """
    names = [machine.name for machine in wanted(sandbox).get(stack, ())]
    if not names:
        raise MachineError(f"the stack {stack} has no machines in the sandbox: none was wanted")
    _require_machines(sandbox)
    began = time.monotonic()
    while True:
        said = _reached(sandbox)
        found = {name: _ssh(sandbox, stack, name, said) for name in names}
        passed = time.monotonic() - began
        if passed > KNOWN_SECONDS:
            found |= {
                name: _as_it_was(stack, name, said, known or {})
                for name in names
                if not found[name]
            }
        if all(found.values()):
            return {name: each for name, each in found.items() if each}
        problems = {name: said.get(container(stack, name), {}).get("problem") for name in names}
        if passed > seconds or (passed > HOPELESS_SECONDS and any(problems.values())):
            words = "; ".join(
                f"{name}: {problems[name] or f'takes no SSH after {passed:.0f} s'}"
                for name in names
                if not found[name]
            )
            raise MachineError(f"machines of the stack {stack} are not reached: {words}")
        time.sleep(_PAUSE_SECONDS)


def present(sandbox: Path, stack: str) -> dict[str, Reached]:
    """Where the machines of a stack that were booted take SSH, by name; any of them may be away.

    Nothing is waited for. Raises MachineError where the sandbox boots no machines.
    """
    _require_machines(sandbox)
    said, found = _reached(sandbox), {}
    for machine in wanted(sandbox).get(stack, ()):
        of_it = container(stack, machine.name)
        port, key = said.get(of_it, {}).get("port"), _host_key(sandbox, of_it)
        if port and key:
            found[machine.name] = Reached(int(port), key)
    return found


def container_at(sandbox: Path, stack: str, address: str) -> str | None:
    """The container of a stack's machine that has an address; None where none has it."""
    names = {each.address: each.name for each in wanted(sandbox).get(stack, ())}
    return container(stack, names[address]) if address in names else None


def container(stack: str, name: str) -> str:
    """The name of a machine's container in the sandbox's Docker."""
    return f"host-{stack}-{name}"


def replace(sandbox: Path, stack: str, name: str) -> None:
    """Put another machine in the place of one: same address, empty disk, new host key."""
    running = lifecycle.find(sandbox)
    if running is None or running.docker_host is None:
        raise MachineError(f"the sandbox of {sandbox} boots no machines")
    folder = sandbox / "machines" / container(stack, name)
    past = folder.with_name(f".{folder.name}-replaced")
    folder.rename(past)  # first, or the loop would boot the next machine with this one's key
    import docker.errors

    from . import private_docker

    with suppress(docker.errors.NotFound):
        client = private_docker.connect(running.docker_host)
        client.api.remove_container(folder.name, force=True, v=True)
    shutil.rmtree(past, ignore_errors=True)


def wanted(sandbox: Path) -> dict[str, tuple[HostMachine, ...]]:
    """The machines of each stack. Raises MachineError where the file cannot be read."""
    file = _wanted_file(sandbox)
    try:
        stacks = json.loads(file.read_text())
        return {
            str(stack): tuple(
                HostMachine(**{**each, "exports": tuple(each["exports"])}) for each in machines
            )
            for stack, machines in stacks.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise MachineError(f"{file} is unreadable, remove it: {error!r}") from error


def forget(sandbox: Path) -> None:
    """Leave nothing of the machines of an earlier run of the sandbox but the operator's key."""
    _wanted_file(sandbox).unlink(missing_ok=True)
    _reached_file(sandbox).unlink(missing_ok=True)
    for folder in (sandbox / "machines").glob("host-*"):
        shutil.rmtree(folder, ignore_errors=True)


def block(address: str) -> str:
    """The network of an address, as 10.77.0.0/24."""
    return str(ipaddress.ip_network(f"{address}/{PREFIX_LENGTH}", strict=False))


def say_reached(sandbox: Path, content: Mapping[str, Mapping[str, Any]]) -> None:
    """Record, by container, the `port` where it takes SSH or the `problem` why there is none."""
    write(_reached_file(sandbox), content)


def _wanted_file(sandbox: Path) -> Path:
    return sandbox / "hosts.json"


def _reached_file(sandbox: Path) -> Path:
    return sandbox / "machines" / "hosts-reached.json"


def _reached(sandbox: Path) -> dict[str, dict[str, Any]]:
    try:
        return dict(json.loads(_reached_file(sandbox).read_text()))
    except (OSError, ValueError):
        return {}


def _ssh(
    sandbox: Path, stack: str, name: str, said: Mapping[str, Mapping[str, Any]]
) -> Reached | None:
    """The SSH of a machine, once it says that it is one."""
    of_it = container(stack, name)
    port = said.get(of_it, {}).get("port")
    key = _host_key(sandbox, of_it)
    with suppress(OSError), socket.create_connection(("127.0.0.1", port or 0), timeout=2) as way:
        if key and way.recv(4) == b"SSH-":
            return Reached(int(port or 0), key)
    return None


def _host_key(sandbox: Path, of_it: str) -> str | None:
    """The key by which a machine is known; None until it has one."""
    with suppress(OSError):
        words = (sandbox / "machines" / of_it / f"{HOST_KEY}.pub").read_text().split()
        return " ".join(words[:2]) if len(words) >= 2 else None
    return None


def _as_it_was(
    stack: str, name: str, said: Mapping[str, Mapping[str, Any]], known: Mapping[str, str]
) -> Reached | None:
    """The way to a machine that is known and does not answer."""
    port = said.get(container(stack, name), {}).get("port")
    return Reached(port, known[name]) if port and name in known else None


def _require_machines(sandbox: Path) -> None:
    running = lifecycle.find(sandbox)
    if running is None:
        raise MachineError(f"the sandbox of {sandbox} does not run, so no machine takes SSH")
    if not running.machines:
        raise MachineError(
            "this sandbox boots no machines, so none takes SSH: its log says why"
            f" ({sandbox}/daemon.log), and SANDBOX_MACHINES must not be 'off' when it starts"
        )


def _of_others(sandbox: Path, stack: str) -> dict[str, list[HostMachine]]:
    return {name: list(of_it) for name, of_it in wanted(sandbox).items() if name != stack}


def _check(
    stack: str, machines: Sequence[HostMachine], others: Mapping[str, Sequence[HostMachine]]
) -> None:
    taken = {each.address: f"{name}/{each.name}" for name in others for each in others[name]}
    names: set[str] = set()
    for machine in machines:
        where = f"machine {machine.name} of the stack {stack}"
        if not _NAME.fullmatch(machine.name) or machine.name in names:
            raise MachineError(f"{where}: a name of a-z, 0-9 and dashes is expected, once")
        names.add(machine.name)
        try:
            network = ipaddress.ip_network(block(machine.address))
        except ValueError as error:
            raise MachineError(f"{where}: {error}") from error
        if ipaddress.ip_address(machine.address) in (network[0], network[1], network[-1]):
            raise MachineError(f"{where}: {machine.address} is the network's own address")
        if machine.address in taken:
            raise MachineError(f"{where}: {taken[machine.address]} has {machine.address} already")
        taken[machine.address] = f"{stack}/{machine.name}"
    blocks = sorted({block(machine.address) for machine in machines})
    if len(blocks) > 1:
        raise MachineError(
            f"the machines of the stack {stack} are in {', '.join(blocks)}; in the sandbox they are in one /24"
        )


@contextmanager
def _exclusively(sandbox: Path) -> Iterator[None]:
    with (sandbox / "hosts.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
