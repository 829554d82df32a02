"""The operator's command line: ``./cluster``, or ``graphistry-cluster`` where this project is installed.

Each command is a file of `operate.commands` and is imported when it runs: `status` would wait longer for imports than
for AWS.
"""

from __future__ import annotations

import atexit
import gc
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from operate.commands.completion import completes_words, outline
from operate.terminal.streams import open_streams

COMMANDS: dict[str, tuple[str, ...]] = {
    "list": ("list", "list --json"),
    "init": (
        "init lab",
        "init team --site aws --region us-east-1 --leader g4dn.2xlarge",
        "init rack --site hosts",
    ),
    "up": ("up", "up prod", "up prod --target sandbox"),
    "preview": ("preview prod",),
    "status": ("status prod", "status prod --json"),
    "prove": ("prove prod",),
    "outputs": ("outputs prod --json",),
    "shell": ("shell prod leader",),
    "cost": ("cost prod",),
    "host-keys": ("host-keys lab", "host-keys lab rack1"),
    "quota-request": ("quota-request prod",),
    "image-refresh": ("image-refresh prod", "image-refresh prod --image running"),
    "publish": ("publish prod release.tar.gz",),
    "stand-in": ("stand-in prod graphistry.tar.gz",),
    "environment": ('eval "$(./cluster environment prod)"',),
    "down": ("down prod", "down main --abandon gpu-team"),
    "purge": ("purge prod", "purge prod --name prod"),
}
"""Every command, in the order of a cluster's life, and examples of it."""

INSTALLED = "graphistry-cluster"
"""The same command line where this project is installed (`pip install -e .`)."""


class Commands(TyperGroup):
    """The commands, each imported when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the order of a cluster's life."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name; an unknown one is compared with the names of all."""
        wanted = [cmd_name] if cmd_name in COMMANDS else list(COMMANDS)
        for name in wanted:
            if name not in self.commands:
                self.commands[name] = outline(name) if completes_words() else command(name)
        return self.commands.get(cmd_name)


def command(name: str) -> Any:
    """A command from its file, with its examples below its help."""
    file = name.replace("-", "_")
    module = import_module(f"operate.commands.{file}")
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command(name, epilog="\n\n".join(["Examples:", *examples(name)]))(getattr(module, file))
    return typer.main.get_command(alone)


def examples(name: str) -> list[str]:
    """The examples of a command as they are typed."""
    return [each if "./cluster" in each else f"./cluster {each}" for each in COMMANDS[name]]


app = typer.Typer(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def before_any_command() -> None:
    """Deploys, shows, proves and ends clusters of Graphistry.

    The stack follows the command: ./cluster up prod deploys stacks/Pulumi.prod.yaml.
    """
    from operate.stack.session import mistakes_told  # not for a TAB
    from operate.terminal.words import refuse_environment

    with mistakes_told():
        refuse_environment()


def main() -> None:
    """Run a command of this shell's words, with the streams that it has."""
    gc.set_threshold(100_000)  # as in /__main__.py, and for its reasons
    atexit.register(gc.freeze)
    open_streams()
    installed = Path(sys.argv[0]).name == INSTALLED
    app(prog_name=INSTALLED if installed else "cluster")


if __name__ == "__main__":
    main()
