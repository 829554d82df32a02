"""Rules in ufw, where it is active: our own table only takes away, and ufw lets nothing in by itself."""

from __future__ import annotations

import shlex
from typing import Sequence

from agent.commands import run
from agent.node import MARK


def allow(addresses: Sequence[str], own: str, ports: Sequence[int]) -> list[str]:
    """Let in *addresses* to *own*'s ports, and nobody whom an earlier call let in; what ufw refused."""
    if not is_active():
        return []
    listed = ",".join(str(port) for port in sorted(ports))
    wanted = [
        ["allow", "from", each, "to", own, "port", listed, "proto", "tcp"] for each in addresses
    ]
    present = _own_rules()
    problems = []
    for rule in present:
        if rule not in wanted:
            run(["ufw", "--force", "delete", *rule])
    for rule in wanted:
        if rule not in present:
            done = run(["ufw", *rule, "comment", MARK])
            problems += [] if done.succeeded else done.tail()
    return problems


def remove() -> None:
    """Take away every rule of ours."""
    for rule in _own_rules():
        run(["ufw", "--force", "delete", *rule])


def is_active() -> bool:
    """Whether ufw decides what reaches this host."""
    return "Status: active" in run(["ufw", "status"], seconds=30).output


def _own_rules() -> list[list[str]]:
    """The rules with our mark, as ufw's command line takes them."""
    found = []
    for line in run(["ufw", "show", "added"], seconds=30).output.splitlines():
        words = shlex.split(line) if line.startswith("ufw ") else []
        if words[-2:] == ["comment", MARK]:
            found.append(words[1:-2])
    return found
