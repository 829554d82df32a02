"""Every stack of this checkout in one row each: what its file says, and whether it is deployed.

It looks, and starts nothing: no sandbox, no download of an engine, no sign-in.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from model.gpu_catalogue import CATALOGUE
from model.problems import SettingsError, UserError, counted
from model.settings.hosts import FollowersOnHosts
from model.settings.read import AnySettings
from model.settings.stack_keys import PROJECT
from operate.stack import deployment
from operate.stack.deployment import Target, default_target
from operate.stack.engine.locate import find as find_engine
from operate.stack.stack_file import read_stack_file, settings_of
from operate.stack.stack_names import stacks_in
from sandbox import workbench
from sandbox.lifecycle import find as find_sandbox

ANSWER_SECONDS = 5
"""Bound on the backend's answer: one request, which takes 0.4 s with a state in files."""
BARE = 1
"""Resources of a stack that is known and not deployed: the stack itself."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """Whether a stack is deployed in one place."""

    deployed: bool | None
    """None where it cannot be known from here."""
    resources: int = 0
    reason: str = ""
    """Why it cannot be known."""

    def __str__(self) -> str:
        if self.deployed is None:
            return "?"
        return counted(self.resources, "resource") if self.deployed else "no"


@dataclass(frozen=True, kw_only=True)
class StackRow:
    """What is known of one stack."""

    stack: str
    site: str = ""
    """``aws`` or ``hosts``; empty where the file is wrong."""
    leader: bool | None = None
    """Whether the leader is this stack's; otherwise its followers join another's."""
    followers: int | None = None
    gpus: int | None = None
    """GPUs that its nodes use, each follower on the first type of its profile."""
    target: str
    """Where commands without ``--target`` go: ``sandbox``, ``AWS`` or ``hosts``."""
    deployed: Known
    """In that place."""
    rehearsed: Known | None = None
    """In the sandbox, for a stack that goes elsewhere by default."""
    problem: str = ""
    """Why the file is no sound stack file, and what shows more."""

    @property
    def size(self) -> str:
        """Leader, followers and GPUs in words: ``leader + 4, 13 GPUs``."""
        if self.followers is None:
            return ""
        others = f" + {self.followers}" if self.followers else ""
        nodes = f"leader{others}" if self.leader else counted(self.followers, "follower")
        return f"{nodes}, {counted(self.gpus or 0, 'GPU')}"


def stack_rows() -> list[StackRow]:
    """A row for each stack file of this checkout, by name. A wrong one has a row too; nothing is raised for it."""
    folder = deployment.ROOT / "stacks"
    stacks = stacks_in(folder)
    in_sandbox = _Sandbox()
    real = _Backend() if any(default_target(each) is Target.AWS for each in stacks) else None
    return [_row(folder / f"Pulumi.{each}.yaml", each, in_sandbox, real) for each in stacks]


def _row(file: Path, stack: str, in_sandbox: _Sandbox, real: _Backend | None) -> StackRow:
    problem, settings = "", None
    try:
        # Whether host keys are there already does not decide whether the file is sound.
        settings = settings_of(read_stack_file(file, rehearsal=True)["config"])
    except SettingsError as error:
        number = counted(len(error.problems), "problem")
        problem = f"{number} in stacks/{file.name}; `./cluster preview {stack}` lists them"
    except UserError as error:
        problem = str(error).splitlines()[0]
    on_hosts = isinstance(settings, FollowersOnHosts)
    rehearsed = in_sandbox.known(stack)
    at_home = real is None or default_target(stack) is Target.SANDBOX
    return StackRow(
        stack=stack,
        site="" if settings is None else "hosts" if on_hosts else "aws",
        leader=None if settings is None else hasattr(settings, "leader"),
        followers=None if settings is None else len(settings.followers),
        gpus=None if settings is None else gpus_of(settings),
        target="sandbox" if at_home else "hosts" if on_hosts else "AWS",
        deployed=rehearsed if real is None or at_home else real.known(stack),
        rehearsed=None if at_home else rehearsed,
        problem=problem,
    )


def gpus_of(settings: AnySettings) -> int:
    """GPUs that the nodes of a stack use, each on the first type of its profile."""
    if isinstance(settings, FollowersOnHosts):
        return sum(map(settings.gpus_of, settings.nodes))
    total = 0
    for node in settings.node_names:
        own, (first, *_) = settings.gpus_of(node), settings.profile_of(node).instance_types
        total += CATALOGUE[first].gpus if own is None else own
    return total


class _Sandbox:
    """The state of this checkout's sandbox, by its files."""

    def __init__(self) -> None:
        self.directory = deployment.SANDBOX_DIRECTORY
        self.running = find_sandbox(self.directory)
        self.bench = None if self.running else workbench.find(deployment.ROOT)

    def known(self, stack: str) -> Known:
        """Whether a stack is in the sandbox, of which nothing outlives its AWS."""
        if self.bench:
            reason = f"the sandbox is in the container {self.bench.name} of your Docker"
            return Known(deployed=None, reason=reason)
        if self.running is None:
            return Known(deployed=False)
        file = self.directory / "state" / ".pulumi" / "stacks" / PROJECT / f"{stack}.json"
        try:
            latest = json.loads(file.read_text())["checkpoint"]["latest"] or {}
            resources = len(latest.get("resources") or ())
            changed = datetime.fromisoformat(latest["manifest"]["time"]) if resources else None
        except FileNotFoundError:
            return Known(deployed=False)
        except (OSError, ValueError, KeyError, TypeError) as error:
            return Known(deployed=None, reason=f"{file} cannot be read: {error}")
        # What was changed before the sandbox began was in an earlier one.
        alive = resources > BARE and changed is not None and changed > self.running.started
        return Known(deployed=alive, resources=resources if alive else 0)


class _Backend:
    """What the Pulumi of whoever is signed in knows of this project's stacks."""

    def __init__(self) -> None:
        self.reason = ""
        self.resources: dict[str, int] = {}
        if os.environ.get("AWS_ACCESS_KEY_ID") == "sandbox":
            self.reason = "this shell points to the sandbox (`./cluster environment`)"
            return
        engine, _ = find_engine()
        if engine is None:
            self.reason = "there is no Pulumi engine yet; the first `./cluster preview` gets it"
            return
        try:
            answer = _stack_ls(engine)
            self.resources = {
                each["name"].rsplit("/", 1)[-1]: each.get("resourceCount") or 0 for each in answer
            }
        except subprocess.TimeoutExpired:
            self.reason = f"Pulumi's backend did not answer within {ANSWER_SECONDS} seconds"
        except subprocess.CalledProcessError as error:
            self.reason = _in_short(error.stderr)
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.reason = f"`pulumi stack ls` cannot be read: {error}"

    def known(self, stack: str) -> Known:
        """Whether a stack is deployed by the state of this backend."""
        if self.reason:
            return Known(deployed=None, reason=self.reason)
        resources = self.resources.get(stack, 0)
        return Known(deployed=resources > BARE, resources=resources if resources > BARE else 0)


def _stack_ls(engine: Path) -> Any:
    listed = subprocess.run(
        [str(engine / "pulumi"), "stack", "ls", "--json", "--non-interactive"],
        cwd=deployment.ROOT,
        env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=ANSWER_SECONDS,
        check=True,
    )
    return json.loads(listed.stdout)


def _in_short(stderr: str) -> str:
    """Pulumi's last words, and what to do where nobody is signed in."""
    if "PULUMI_ACCESS_TOKEN" in stderr:
        return "nobody is signed in to Pulumi; `pulumi login` does, or PULUMI_BACKEND_URL"
    lines = stderr.strip().splitlines() or ["`pulumi stack ls` failed without a word"]
    return lines[-1].removeprefix("error: ")
