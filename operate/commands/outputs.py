"""``outputs``: what a deployed stack says of itself."""

from __future__ import annotations

from model.problems import UserError
from operate.commands.options import AsJson, Stack, Where
from operate.commands.screen import show_outputs
from operate.stack.session import deployment


def outputs(
    stack: Stack = "sandbox",
    target: Where = None,
    as_json: AsJson = False,
) -> None:
    """Show the outputs of a stack: endpoints, ids, and commands to copy. No secret is among them."""
    with deployment(stack, target, start=False, changes=False) as opened:
        found = opened.outputs() if opened.exists() else {}
        if not found:
            raise UserError(
                f"the stack {stack} has no outputs; `./cluster up{opened.choice}` makes them"
            )
        show_outputs(found, as_json=as_json)
