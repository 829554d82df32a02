"""Collects the public keys by which hosts are known, for a person to compare and accept.

Whoever answers the first time may be anybody: only the fingerprint, read on the host itself, tells.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from model.problems import UserError, counted
from model.settings.stack_keys import PROJECT
from operate.commands.completion import node_words
from operate.commands.options import Stack, Where, require_node
from operate.commands.screen import print_table
from operate.hosts.ssh import Access, SshError, fingerprint, presented_key
from operate.stack.deployment import ROOT, SANDBOX_DIRECTORY, Target, choice_of, default_target
from operate.stack.rehearsed_hosts import take_keys
from operate.stack.session import checked, mistakes_told, require_sandbox, workbench_of
from operate.stack.stack_file import (
    named_hosts,
    read_to_edit,
    refuse_unsound_hosts,
    write_stack_file,
)
from operate.terminal.messages import for_stack, say
from operate.terminal.words import node_name
from preflight.tables import plain_table

NEW, KNOWN, CHANGED = "new", "as in the stack file", "CHANGED"


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
    hint: str = ""
    """What to do about the problem."""

    @property
    def state(self) -> str:
        """What a person should think of it."""
        if self.problem:
            return self.problem
        if not self.known:
            return NEW
        return KNOWN if self.key.split()[:2] == self.known.split()[:2] else CHANGED


def collect(stack_file: Path, node: str | None) -> list[Found]:
    """Ask every host of a stack file, or that of one node, for its key. Raises :class:`UserError`, and
    ``SettingsError`` for hosts that cannot be asked."""
    refuse_unsound_hosts(stack_file)
    config = read_to_edit(stack_file)[1]["config"]
    places = {
        place: entry
        for place, entry in named_hosts(config)
        if node is None or place.removeprefix("followers.") == node
    }
    if not places and node is not None:
        hosts = [place.removeprefix("followers.") for place, _ in named_hosts(config)]
        require_node(node, hosts, f"stacks/{stack_file.name} names no host {node!r}")
    if not places:
        raise UserError(f"stacks/{stack_file.name} names no host")
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
    yaml, content = read_to_edit(stack_file)
    entries = dict(named_hosts(content["config"]))
    for found in accepted:
        entries[found.place]["hostKey"] = found.key
    after = StringIO()
    yaml.dump(content, after)
    write_stack_file(stack_file, after.getvalue())


def key_table(found: Collection[Found]) -> Table:
    """Hosts with the fingerprints to compare, and where one is another than in the stack file, that one beside it."""
    changed = any(each.state == CHANGED for each in found)
    before = ["in the stack file"] if changed else []
    table = plain_table("host", "address", *before, "fingerprint", "state", prose=("state",))
    for each in found:
        colour = "green" if each.state == KNOWN else "yellow"
        colour = "red" if each.problem or each.state == CHANGED else colour
        keys = [each.known, each.key] if changed else [each.key]
        shown = [_shown(key) for key in keys]
        table.add_row(each.place, each.address, *shown, f"[{colour}]{each.state}[/]")
    return table


def advice(
    found: Collection[Found], command: str, *, yes: bool, at_terminal: bool
) -> Iterator[str]:
    """What to do about keys and hosts, one line each; *command* collects the same keys again."""
    silent = [each for each in found if each.problem]
    yield from dict.fromkeys(each.hint for each in silent)
    if silent:
        number = f"{len(silent)} of {len(found)} hosts did not answer"
        who = "no host answered" if len(silent) == len(found) else number
        yield f"{who}; `{command}` asks again"
    unknown = [each for each in found if each.state in (NEW, CHANGED)]
    if not unknown:
        return
    kinds = dict.fromkeys(each.key.split()[0] for each in unknown)
    shows = " and ".join(f"`ssh-keygen -lf {KEY_FILES[kind]}`" for kind in kinds)
    yield f"compare each fingerprint with what the host itself prints on its console: {shows}"
    if any(each.state == CHANGED for each in unknown) and (yes or not at_terminal):
        yield (
            "a changed key is never accepted by --yes, as somebody may be between you and the host: `"
            f"{command}` at a terminal asks for each"
        )
    if any(each.state == NEW for each in unknown) and not (yes or at_terminal):
        yield (
            "nobody is there to say yes, so nothing was written: once every fingerprint was compared, "
            f"`{command} --yes` takes what is new"
        )


KEY_FILES = {
    "ecdsa-sha2-nistp256": "/etc/ssh/ssh_host_ecdsa_key.pub",
    "ssh-ed25519": "/etc/ssh/ssh_host_ed25519_key.pub",
}
"""Type of a host key to where OpenSSH has it on the host."""


def _shown(key: str) -> str:
    try:
        return fingerprint(key) if key else "-"
    except (ValueError, IndexError):
        return "no key"  # whatever stands in the stack file


def _ask(
    place: str, entry: Mapping[str, Any], ssh: Mapping[str, Any], bastion: Access | None
) -> Found:
    known = str(entry.get("hostKey") or "")
    access = _access(entry, ssh, bastion)
    try:
        return Found(place=place, address=access.address, known=known, key=presented_key(access))
    except SshError as error:
        return Found(
            place=place,
            address=access.address,
            known=known,
            key="",
            problem=str(error),
            hint=error.hint.replace(" STACK NODE", f" STACK {place.removeprefix('followers.')}"),
        )


def _access(entry: Mapping[str, Any], ssh: Mapping[str, Any], bastion: Access | None) -> Access:
    return Access(
        address=str(entry["address"]),
        port=int(entry.get("port") or ssh.get("port") or 22),
        user=str(entry.get("user") or ssh.get("user") or "ubuntu"),
        host_key=str(entry.get("hostKey") or ""),
        bastion=bastion,
    )


def host_keys(
    stack: Stack = "sandbox",
    node: Annotated[
        str,
        typer.Argument(
            metavar="NODE",
            help="One node, or ssh.bastion for the bastion; without it all of them.",
            callback=checked(node_name),
            autocompletion=node_words,
        ),
    ] = "",
    target: Where = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Accept new keys without asking; for scripts.")
    ] = False,
) -> None:
    """Collect the host keys of a stack on hosts, show their fingerprints, write the accepted ones into its file."""
    if bench := workbench_of(stack, target, start=False):
        raise typer.Exit(bench.run(sys.argv[1:]))
    rehearsal = (target or default_target(stack)) is Target.SANDBOX
    folder = SANDBOX_DIRECTORY / "stacks" if rehearsal else ROOT / "stacks"
    stack_file = folder / f"Pulumi.{stack}.yaml"
    with mistakes_told():
        require_sandbox(stack, target)
        found = collect(stack_file, node or None)
    print_table(key_table(found))
    choice, at_terminal = choice_of(stack, target), sys.stdin.isatty()
    command = f"./cluster host-keys{choice}" + (f" {node}" if node else "")
    for line in advice(found, command, yes=yes, at_terminal=at_terminal):
        say(for_stack(line, choice))
    accepted = [each for each in found if yes and each.state == NEW]
    if not yes and at_terminal:
        unknown = [each for each in found if each.state in (NEW, CHANGED)]
        accepted = [each for each in unknown if typer.confirm(f"Accept {each.place}?")]
    if accepted and rehearsal:
        taken = {each.place.removeprefix("followers."): each.key for each in accepted}
        with mistakes_told():
            take_keys(SANDBOX_DIRECTORY, stack, taken)
    elif accepted:
        with mistakes_told():
            write(stack_file, accepted)
    if accepted:
        place = "taken for this sandbox" if rehearsal else f"written to stacks/{stack_file.name}"
        say(f"{counted(len(accepted), 'key')} {place}; next: ./cluster preview{choice}")
    if any(each.state != KNOWN and each not in accepted for each in found):
        raise typer.Exit(1)
    if not accepted:
        say(f"every host answers with its key of the stack file; next: ./cluster preview{choice}")
