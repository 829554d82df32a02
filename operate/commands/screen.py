"""What commands show to people, and ask them."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model.settings.hosts import FollowersOnHosts
from operate.nodes.on_aws import Node, entries, kept_table, node_table
from operate.nodes.settled import explanation, unready
from operate.stack.deployment import ROOT, Deployment
from operate.terminal.messages import console, for_stack, say
from preflight.tables import WIDTH, show
from sandbox import workbench

if TYPE_CHECKING:  # or every command would import what only `./cluster prove` needs
    from operate.commands.proofs import Proof


def confirmed(question: str) -> bool:
    """Whether somebody is there and says yes."""
    if not sys.stdin.isatty():
        say(f"{question} Nobody is there to say yes; `--yes` does")
        return False
    return typer.confirm(question)


def show_kept(heading: str, kept: Mapping[str, str]) -> None:
    """Print what outlives the machines, below what happens to it."""
    if kept:
        say(heading)
        print_table(kept_table(kept), stderr=True)


def show_nodes(found: list[Node], *, as_json: bool) -> None:
    """Print the nodes: a table for a person, JSON for a script."""
    if as_json:
        print(json.dumps([dataclasses.asdict(node) for node in found], indent=2))
    else:
        print_table(node_table(found))
        for node in found:
            for warning in node.warnings:
                say(f"warning: {node.name}: {escape(warning)}")


def show_outputs(outputs: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a stack's outputs: a line each for a person, never folded, as most are there to be copied."""
    if as_json:
        print(json.dumps(outputs, indent=2))
    else:
        for name, value in _values(outputs):
            print(f"{name}: {value}")


def _values(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every value in an output, by its place: ``followers.small.shell``."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _values(each, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        yield name, ", ".join(map(str, value))
    else:
        yield name, str(value)


def show_unready(opened: Deployment, found: list[Node]) -> list[Node]:
    """Print why nodes are not ready, and return these nodes."""
    booted = opened.sandbox is None or opened.sandbox.machines
    failing = unready(found, booted=booted)
    for node in failing:
        for line in explanation(node):
            line = for_stack(line, opened.choice, node.name)
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    return failing


def show_proof(proof: Proof) -> None:
    """Print whether a promise is kept, and what was seen, which goes below it where a terminal is too narrow."""
    screen = Console(emoji=False, highlight=False)
    kept = {
        True: "[green]kept      [/]",
        False: "[bold red]BROKEN    [/]",
        None: "[yellow]not proven[/]",
    }[proof.kept]
    line = f"{proof.promise:48} {proof.node:12}"
    beside = not screen.is_terminal or len(f"not proven {line} {proof.seen}") <= screen.width
    seen = escape(proof.seen) if beside else f"\n           {escape(proof.seen)}"
    screen.print(f"{kept} {line} {seen}", soft_wrap=True)


def print_table(table: Table, *, stderr: bool = False) -> None:
    """Print a table. Ids in it are there to be copied, so they are never folded."""
    stream = sys.stderr if stderr else sys.stdout
    show(table, Console(stderr=stderr, emoji=False, width=None if stream.isatty() else WIDTH))


def next_steps(opened: Deployment, outputs: Mapping[str, Any]) -> None:
    """What an operator does next."""
    choice = opened.choice
    if opened.sandbox is not None:
        if not isinstance(opened.settings, FollowersOnHosts):
            bench = workbench.inside(ROOT)
            only = f", in the workbench only: {bench.shell}" if bench else ""
            say(f"its AWS answers at {opened.sandbox.aws_endpoint}{only}")
        if opened.sandbox.machines:
            say(f"prove it:  `./cluster prove{choice}`")
        else:
            say(
                "not booted: this sandbox records machines and boots none (docs/explanation/sandbox.md)"
            )
        if isinstance(opened.settings, FollowersOnHosts):
            for node in list(entries(outputs))[:1]:
                say(f"shell:     `./cluster shell{choice} {node}`")
    else:
        first = next(iter(entries(outputs).values()), None)
        if first is not None:
            say(f"web page:  {first['portForward']}, then http://localhost:8080")
            say(f"shell:     {first['shell']}")
    say(
        f"change it: edit stacks/Pulumi.{opened.stack}.yaml, `./cluster preview{choice}`, `./cluster up{choice}`"
    )
    say(
        f"end it:    `./cluster down{choice}`"
        + ("" if opened.sandbox else ", which keeps the data")
    )
