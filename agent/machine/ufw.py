"""Rules in ufw, where it is active: our own table only takes away, and ufw lets nothing in by itself."""

from __future__ import annotations

import shlex
from typing import NamedTuple, Sequence

from agent.machine.commands import run
from agent.node import MARK


class Rule(NamedTuple):
    """Who may come to which ports of this host."""

    source: str
    own: str
    ports: Sequence[int]
    protocol: str

    def words(self) -> list[str]:
        """As ufw's command line takes it."""
        listed = ",".join(str(port) for port in sorted(self.ports))
        way = ["from", self.source, "to", self.own, "port", listed, "proto", self.protocol]
        return ["allow", *way]


def allow(rules: Sequence[Rule]) -> list[str]:
    """Let in whom the *rules* name, and nobody whom an earlier call let in; what ufw refused."""
    if not is_active():
        return []
    wanted = [each.words() for each in rules]
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
