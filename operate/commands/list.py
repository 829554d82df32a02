"""``list``: the stacks of this checkout."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from operate.commands.options import AsJson
from operate.commands.screen import print_table
from operate.stack.listed import StackRow, stack_rows
from operate.stack.session import mistakes_told
from operate.terminal.messages import say
from preflight.tables import plain_table


def list(as_json: AsJson = False) -> None:  # noqa: A001 the command's name
    """List the stacks of this checkout: site, size, where they go by default, deployed or not. It starts nothing."""
    with mistakes_told():
        rows = stack_rows()
        if as_json:
            print(json.dumps([dataclasses.asdict(each) for each in rows], indent=2))
            return
        if not rows:
            say("there is no stack file in stacks/; `./cluster init NAME` writes one")
            return
        print_table(stack_table(rows))
        for each in rows:
            if each.problem:
                say(f"{each.stack}: {escape(each.problem)}")
        for where, reason in unknown(rows).items():
            say(f"? {where}: {escape(reason)}")


SHORT = {True: "yes", False: "no", None: "?"}


def stack_table(rows: Sequence[StackRow]) -> Table:
    """The stacks, a row each."""
    table = plain_table("stack", "site", "size", "goes to", "deployed", "rehearsed")
    for each in rows:
        told = "[red]wrong[/]" if each.problem else each.site
        rehearsed = "" if each.rehearsed is None else SHORT[each.rehearsed.deployed]
        table.add_row(each.stack, told, each.size, each.target, str(each.deployed), rehearsed)
    return table


def unknown(rows: Sequence[StackRow]) -> dict[str, str]:
    """Why it cannot be known whether stacks are deployed, by where they would be."""
    found = {}
    for each in rows:
        home = each.rehearsed or each.deployed
        if home.reason and (each.rehearsed or each.target == "sandbox"):
            found["in the sandbox"] = home.reason
        if each.rehearsed and each.deployed.reason:
            found["deployed"] = each.deployed.reason
    return found
