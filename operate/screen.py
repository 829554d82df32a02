"""What commands show to people, and ask them."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from model.hosts import FollowersOnHosts
from operate.deployment import ROOT, Deployment
from operate.messages import console, for_stack, say
from operate.nodes import Node, entries, kept_table, node_table
from operate.settled import explanation, unready
from operate.tables import WIDTH
from sandbox import workbench


def confirmed(question: str) -> bool:
    """Whether somebody is there and says yes."""
    if not sys.stdin.isatty():
        say(f"{question} Nobody is there to say yes; YES=1 does")
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
                say(f"warning: {node.name}: {warning}")


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


def print_table(table: Table, *, stderr: bool = False) -> None:
    """Print a table. Ids in it are there to be copied, so it is not folded for want of a terminal."""
    stream = sys.stderr if stderr else sys.stdout
    Console(stderr=stderr, emoji=False, width=None if stream.isatty() else WIDTH).print(table)


def next_steps(opened: Deployment, outputs: Mapping[str, Any]) -> None:
    """What an operator does next."""
    choice = opened.choice
    if opened.sandbox is not None:
        if not isinstance(opened.settings, FollowersOnHosts):
            bench = workbench.inside(ROOT)
            only = f", in the workbench only: {bench.shell}" if bench else ""
            say(f"its AWS answers at {opened.sandbox.aws_endpoint}{only}")
        if opened.sandbox.machines:
            say(f"prove it:  `make prove{choice}`")
        else:
            say("not booted: this sandbox records machines and boots none (docs/sandbox.md)")
        if isinstance(opened.settings, FollowersOnHosts):
            for node in list(entries(outputs))[:1]:
                say(f"shell:     `make shell{choice} NODE={node}`")
    else:
        first = next(iter(entries(outputs).values()), None)
        if first is not None:
            say(f"web page:  {first['portForward']}, then http://localhost:8080")
            say(f"shell:     {first['shell']}")
    say(
        f"change it: edit stacks/Pulumi.{opened.stack}.yaml, `make preview{choice}`, `make up{choice}`"
    )
    say(f"end it:    `make down{choice}`" + ("" if opened.sandbox else ", which keeps the data"))
