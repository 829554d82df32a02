"""Collects the public keys by which hosts are known, for a person to compare and accept.

Whoever answers the first time may be anybody: only the fingerprint, read on the host itself, tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from operate.messages import UserError
from operate.ssh import Access, SshError, fingerprint, presented_key
from operate.stack_file import PROJECT
from operate.tables import plain_table

COMPARE = "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"
"""What prints the fingerprint on the host itself."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """One host and the key that it answers with."""

    place: str
    """Where the stack file names it: ``leader``, ``followers.rack1``, ``ssh.bastion``."""
    address: str
    known: str
    """The key in the stack file; empty where there is none."""
    key: str
    """The key that it answers with; empty where it does not answer."""
    problem: str = ""

    @property
    def state(self) -> str:
        """What a person should think of it."""
        if self.problem:
            return self.problem
        if not self.known:
            return "new"
        return (
            "as in the stack file" if self.key.split()[:2] == self.known.split()[:2] else "CHANGED"
        )


def collect(stack_file: Path, node: str | None) -> list[Found]:
    """Ask every host of a stack file, or that of one node, for its key. Raises :class:`UserError`."""
    config = _load(stack_file)[1]["config"]
    places = {
        place: entry
        for place, entry in _hosts(config)
        if node is None or place.removeprefix("followers.") == node
    }
    if not places:
        raise UserError(f"stacks/{stack_file.name} names no host" + (f" {node!r}" if node else ""))
    ssh = config.get(f"{PROJECT}:ssh") or {}
    bastion = _access(ssh["bastion"], ssh, None) if ssh.get("bastion") else None
    with ThreadPoolExecutor(max_workers=32) as workers:
        asked = workers.map(
            lambda place: _ask(
                place, places[place], ssh, None if place == "ssh.bastion" else bastion
            ),
            places,
        )
        return list(asked)


def write(stack_file: Path, accepted: list[Found]) -> None:
    """Put accepted keys into the stack file, whose comments and order stay."""
    yaml, content = _load(stack_file)
    entries = dict(_hosts(content["config"]))
    for found in accepted:
        entries[found.place]["hostKey"] = found.key
    with stack_file.open("w") as stream:
        yaml.dump(content, stream)


def key_table(found: list[Found]) -> Table:
    """Hosts with the fingerprints to compare."""
    table = plain_table("host", "address", "fingerprint", "state")
    for each in found:
        colour = "green" if each.state == "as in the stack file" else "yellow"
        colour = "red" if each.problem or each.state == "CHANGED" else colour
        shown = fingerprint(each.key) if each.key else "-"
        table.add_row(each.place, each.address, shown, f"[{colour}]{each.state}[/]")
    return table


def _ask(
    place: str, entry: Mapping[str, Any], ssh: Mapping[str, Any], bastion: Access | None
) -> Found:
    known = str(entry.get("hostKey") or "")
    access = _access(entry, ssh, bastion)
    try:
        key, problem = presented_key(access), ""
    except SshError as error:
        key, problem = "", str(error)
    return Found(place=place, address=access.address, known=known, key=key, problem=problem)


def _access(entry: Mapping[str, Any], ssh: Mapping[str, Any], bastion: Access | None) -> Access:
    return Access(
        address=str(entry["address"]),
        port=int(entry.get("port") or ssh.get("port") or 22),
        user=str(entry.get("user") or ssh.get("user") or "ubuntu"),
        host_key=str(entry.get("hostKey") or ""),
        bastion=bastion,
    )


def _hosts(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every host that a stack file names, with where; its other mistakes are told by the other commands."""
    ssh = config.get(f"{PROJECT}:ssh") or {}
    if ssh.get("bastion"):
        yield "ssh.bastion", ssh["bastion"]
    nodes = {"leader": config.get(f"{PROJECT}:leader") or {}}
    followers = config.get(f"{PROJECT}:followers") or {}
    nodes |= {f"followers.{name}": entry or {} for name, entry in followers.items()}
    for place, entry in nodes.items():
        host = entry.get("host")
        if isinstance(host, dict) and host.get("address"):
            yield place, host


def _load(stack_file: Path) -> tuple[YAML, Any]:
    """The file's content as something that can be written back with its comments."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    try:
        content = yaml.load(stack_file)
        if not isinstance(content["config"], dict):
            raise TypeError("it has no `config:` with keys below it")
    except (YAMLError, OSError, TypeError, KeyError) as error:
        raise UserError(f"stacks/{stack_file.name} cannot be read: {error}") from None
    return yaml, content
