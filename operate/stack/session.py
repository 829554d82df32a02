"""How a command begins: with an open deployment, or with a message that a person can act on."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NoReturn

import typer
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from rich.markup import escape

from model.problems import SettingsError, UserError
from operate.stack.account import refuse_another_account
from operate.stack.dead_run import clear_dead_run, refuse_while_busy
from operate.stack.deployment import (
    ROOT,
    SANDBOX_DIRECTORY,
    Deployment,
    Target,
    choice_of,
    default_target,
    open_deployment,
)
from operate.stack.engine import EngineError
from operate.stack.lock import alone
from operate.terminal.messages import console, say
from sandbox import workbench
from sandbox.lifecycle import find


@contextmanager
def deployment(
    stack: str,
    target: Target | None,
    *,
    start: bool = True,
    changes: bool = True,
    boots: bool = False,
    here: bool = False,
    looks: bool = True,
) -> Iterator[Deployment]:
    """An open deployment; a mistake of the user's ends the command with a message and status 1.

    Without *start* a sandbox that does not run is such a mistake; with *changes* so is another command at work. With
    *boots* the hosts of a rehearsal get their machines, which no other command touches. Where
    machines boot in a workbench only, the command runs there and ends here, and with *here* that is a mistake too.
    So are credentials of another account than the cluster's, unless the command *looks* at nothing of AWS.
    """
    with mistakes_told():
        if bench := workbench_of(stack, target, start=start):
            if here:
                raise UserError(
                    f"the sandbox is in the container {bench.name} of your Docker, and this shell is not: {bench.shell}"
                )
            raise typer.Exit(bench.run(sys.argv[1:]))
        if not start:
            require_sandbox(stack, target)
        with (
            alone(ROOT / ".build" / (target or default_target(stack)), stack)
            if changes
            else nullcontext()
        ):
            opened = open_deployment(stack, target, boots=boots)
            clear_dead_run(opened)
            if changes:
                refuse_while_busy(opened)
            if looks:
                refuse_another_account(opened, changes=changes)
            if opened.stand_in is not None:
                from operate.stack.stand_in import require_stand_in  # all of `./cluster publish`

                require_stand_in(opened)
            yield opened


@contextmanager
def mistakes_told() -> Iterator[None]:
    """End the command with a message and status 1 for what a person can fix; a traceback is for our own mistakes."""
    try:
        yield
    except (UserError, EngineError, SettingsError) as error:
        fail(error)
    except (BotoCoreError, ClientError) as error:
        fail(UserError(f"AWS answered: {error}"))
    except ResponseParserError:
        where = "HTTPS_PROXY, at AWS_ENDPOINT_URL, and at a sign-in page of the network"
        fail(UserError(f"what answered is not AWS: look at {where}"))
    except BrokenPipeError:
        raise  # whoever reads the output has seen enough; typer ends the command in silence
    except OSError as error:
        hint = OS_HINTS.get(error.errno or 0, "")
        if error.filename is None and not hint:
            raise
        where = f"{error.filename}: " if error.filename is not None else ""
        fail(UserError(f"{where}{error.strerror}{hint}"))


OS_HINTS = {
    errno.ENOSPC: "; make room on the disk of this checkout and of /tmp, and run the same command again",
    errno.EDQUOT: "; make room within your quota, and run the same command again",
    errno.EACCES: "; this user needs permission there (`ls -ld` shows who has it)",
    errno.EPERM: "; this user needs permission there (`ls -ld` shows who has it)",
    errno.EROFS: "; the checkout is on a file system that cannot be written",
}
"""What to do about an error of the operating system, after its own words."""


def checked(check: Callable[[str], str]) -> Callable[[str], str]:
    """The callback of an option that a *check* looks at, before anything else happens."""

    def callback(text: str) -> str:
        with mistakes_told():
            return check(text)

    return callback


def fail(error: Exception) -> NoReturn:
    """End with what a person can mend."""
    console.print("[bold red]error:[/]", escape(str(error)), highlight=False, soft_wrap=True)
    raise typer.Exit(1) from None


def workbench_of(stack: str, target: Target | None, *, start: bool) -> workbench.Workbench | None:
    """Where machines boot if not here, with *start* started if need be; None for AWS, and while a sandbox runs here."""
    if (target or default_target(stack)) is Target.AWS or find(SANDBOX_DIRECTORY) is not None:
        return None
    return workbench.start(ROOT, say) if start else workbench.find(ROOT)


def sandbox_runs(stack: str, target: Target | None) -> bool:
    """Whether what a command is about can be there: AWS always is, the sandbox while it runs."""
    return (target or default_target(stack)) is Target.AWS or find(SANDBOX_DIRECTORY) is not None


def require_sandbox(stack: str, target: Target | None) -> None:
    """Raise :class:`UserError` where a command is about a sandbox that does not run."""
    if not sandbox_runs(stack, target):
        raise UserError(
            f"the sandbox is not running, so nothing is deployed to it; `./cluster up{choice_of(stack, target)}` does"
        )


def require_reach(archive: Path, stack: str, target: Target | None) -> None:
    """Raise :class:`UserError` for a file that a rehearsal cannot see, as it runs in a container of its own here."""
    if workbench_of(stack, target, start=True) and not archive.is_relative_to(ROOT):
        raise UserError(
            f"the sandbox is in a container of your Docker, which sees this checkout alone: copy {archive} below "
            f"{ROOT} first"
        )


def consent(opened: Deployment, *, yes: bool) -> list[str]:
    """The options that keep Pulumi from asking, where nothing is at stake or somebody has said yes.

    Raises :class:`UserError` where it would ask and nobody is there.
    """
    if opened.sandbox is None and not yes and not sys.stdin.isatty():
        raise UserError(
            "the plan is shown and must be accepted, and there is no terminal to ask at; pass --yes to accept it"
        )
    return ["--yes", "--skip-preview"] if opened.sandbox or yes else []


def run(opened: Deployment, *arguments: str) -> None:
    """Run a Pulumi command on the stack and its file; end with Pulumi's status if it fails."""
    status = opened.run(*arguments, *opened.configured())
    if status:
        raise typer.Exit(status)
