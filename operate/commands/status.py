"""``status``: the nodes of a deployed stack."""

from __future__ import annotations

from operate.commands.options import AsJson, Stack, Where
from operate.commands.screen import show_nodes, show_unready
from operate.nodes.present import deployed_outputs, hosts_in, present_nodes
from operate.stack.session import deployment


def status(
    stack: Stack = "sandbox",
    target: Where = None,
    as_json: AsJson = False,
) -> None:
    """Show the nodes of a deployed stack."""
    with deployment(stack, target, start=False, changes=False) as opened:
        outputs = deployed_outputs(opened)
        with hosts_in(opened) as hosts:
            found = present_nodes(opened, outputs, hosts)
        show_nodes(found, as_json=as_json)
        if not as_json:
            show_unready(opened, found)
