"""``environment``: what a shell needs for plain Pulumi."""

from __future__ import annotations

import shlex

from model.rehearsal import VARIABLE
from operate.commands.options import Stack, Where
from operate.stack.session import deployment


def environment(stack: Stack = "sandbox", target: Where = None) -> None:
    """Print the environment in which plain `pulumi` works on a stack, for a shell's `eval`."""
    with deployment(stack, target, changes=False, here=True, looks=False) as opened:
        names = {"PATH", "PULUMI_SKIP_UPDATE_CHECK"}
        if opened.sandbox is not None:
            names |= {*opened.sandbox.environment(), "PULUMI_HOME", "PULUMI_BACKEND_URL"}
            names |= {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"}
            names |= {VARIABLE} & opened.environment.keys()
        for name in sorted(names):
            print(f"export {name}={shlex.quote(opened.environment[name])}")
