"""What a shell completes after ``./cluster``: commands, stacks and nodes, before a person notices.

The commands themselves take 0.8 s of processor time to import. As long as no option is in the line, an outline of the
command has all that a TAB asks for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from operate.stack.stack_names import nodes_in, stacks_in

STACKS = Path(__file__).resolve().parents[2] / "stacks"


def stack_words(incomplete: str) -> list[str]:
    """The stacks of this checkout that begin so."""
    return [each for each in stacks_in(STACKS) if each.startswith(incomplete)]


def node_words(ctx: typer.Context, incomplete: str) -> list[str]:
    """The nodes of the line's stack that begin so."""
    file = STACKS / f"Pulumi.{ctx.params.get('stack')}.yaml"
    return [each for each in nodes_in(file) if each.startswith(incomplete)]


def completes_words(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a shell asks for a word of the line that is no option, nor behind one."""
    asks = any(re.fullmatch(r"_(GRAPHISTRY_)?CLUSTER_COMPLETE", name) for name in environment)
    line = environment.get("COMP_WORDS") or environment.get("_TYPER_COMPLETE_ARGS", "")
    return asks and not re.search(r"\s-", line)


def outline(name: str) -> Any:
    """A command that takes the words of the real one, and does nothing."""
    alone = typer.Typer(add_completion=False)
    alone.command(name)(OUTLINES.get(name, _stack))
    return typer.main.get_command(alone)


# Without docstrings, as zsh and fish would show those in place of the commands' own.
def _stack(stack: Annotated[str, typer.Argument(autocompletion=stack_words)] = "") -> None: ...


def _node(
    stack: Annotated[str, typer.Argument(autocompletion=stack_words)] = "",
    node: Annotated[str, typer.Argument(autocompletion=node_words)] = "",
) -> None: ...


def _nothing() -> None: ...


OUTLINES = {"shell": _node, "host-keys": _node, "list": _nothing, "init": _nothing}
"""The outline of a command that takes other words than a stack."""
