"""One stack and how to reach it: which Pulumi, which AWS, which state.

``target`` decides: ``sandbox`` is the embedded AWS of this checkout with a state of its own, ``aws`` is whatever the
caller's own Pulumi and AWS settings say.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any

import typer
from rich.markup import escape

from model.problems import UserError, did_you_mean
from model.rehearsal import DONE, told
from model.settings.aws import Settings
from model.settings.hosts import FollowersOnHosts
from model.settings.read import AnySettings
from model.settings.stack_keys import PROJECT, is_encrypted
from operate.stack.aws_errors import refused
from operate.stack.engine import ensure
from operate.stack.progress import Progress, deployed_nodes
from operate.stack.pulumi_errors import explained
from operate.stack.pulumi_lock import wait_noting_lock
from operate.stack.rehearsed_hosts import Unlike
from operate.stack.rehearsed_hosts import rehearsed as rehearsed_hosts
from operate.stack.rehearsed_images import rehearse_images
from operate.stack.rehearsed_release import (
    Rehearsed,
    rehearsed_release,
    release_of_cluster,
    with_release,
)
from operate.stack.rehearsed_secret import rehearsed_env
from operate.stack.removals import removal_lines
from operate.stack.ssh_agent import without_dead_agent
from operate.stack.stack_file import (
    config_of,
    read_stack_file,
    settings_of,
    stack_in,
    write_stack_file,
)
from operate.stack.stack_names import stacks_in
from operate.stack.stack_yaml import dumped
from operate.stack.watched_run import has_screen, shown
from operate.terminal.messages import for_stack, say
from preflight.price_list import region_of
from sandbox.lifecycle import Sandbox, SandboxError, find, start
from sandbox.machines.availability import Machines, prepare

if TYPE_CHECKING:
    from botocore.config import Config

ROOT = Path(__file__).resolve().parents[2]
SANDBOX_DIRECTORY = ROOT / ".sandbox"

SANDBOX_SALT = "v1:C5QxiWCe5rs=:v1:Pmc/sLEbdfy/sTj/:gS4Um5hsnmT17tL/WRtq6OQqyl7KQQ=="
"""Encryption salt that belongs to the sandbox's empty passphrase. It guards nothing: a sandbox holds no secrets."""

LOOKS = ("ls", "export", "output", "history")
"""What `pulumi stack` is asked about the state, which it does not change."""

ASKED = {"up": "update", "destroy": "destroy"}
"""What Pulumi calls a command of its own where it asks whether to go on."""


class Target(StrEnum):
    """Where a stack is deployed."""

    SANDBOX = "sandbox"
    AWS = "aws"


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A stack, ready for Pulumi commands."""

    stack: str
    target: Target
    environment: dict[str, str]
    config_file: Path
    sandbox: Sandbox | None = None
    unlike: Mapping[str, Unlike] = field(default_factory=dict)
    """Nodes of a rehearsal on hosts whose machine is not as the stack file has it."""
    stand_in: Path | None = None
    """The archive that `release.source` of a rehearsal names, where it is the sandbox's own stand-in."""
    _answers: dict[tuple[str, ...], str] = field(default_factory=dict, init=False, repr=False)
    """What Pulumi has said of the state since it was last changed from here: each question takes it 0.2 s."""

    def run(self, *arguments: str, output: IO[bytes] | None = None) -> int:
        """Run a Pulumi command with the caller's terminal, or with a file for its *output*; return its exit status.

        Ctrl-C is Pulumi's, which cancels what it may, writes down what it made, and is waited for.
        """
        # The terminal tells Pulumi too, and subprocess would kill it a quarter of a second later.
        before = signal.signal(signal.SIGINT, lambda *_: None)
        try:
            process = subprocess.Popen(
                ["pulumi", *arguments],
                env=self.environment,
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
            )
            return wait_noting_lock(process, self.environment, self.stack, self.note)
        finally:
            signal.signal(signal.SIGINT, before)
            self.forget()

    def up(self, *options: str, pulumis_view: bool = False) -> tuple[int, list[str]]:
        """Deploy; the exit status, and a line for each known reason for which AWS refused resources."""
        with self._logged("up", *options, pulumis_view=pulumis_view) as (status, events):
            return status, [for_stack(each, self.choice) for each in refused(events)]

    def destroy(self, *options: str, pulumis_view: bool = False) -> int:
        """Destroy; the exit status."""
        with self._logged("destroy", *options, pulumis_view=pulumis_view) as (status, _):
            return status

    @contextmanager
    def _logged(
        self, command: str, *options: str, pulumis_view: bool
    ) -> Iterator[tuple[int, Path]]:
        """Run a Pulumi command on the stack and its file; its status and the engine's log of events.

        What hosts that left have printed is shown once more: a terminal has forgotten it by then.
        """
        with TemporaryDirectory() as folder:
            events = Path(folder) / "events"
            arguments = (*options, *self.configured(), "--event-log", str(events))
            if pulumis_view or ("--yes" not in options and not has_screen()):
                status = self.run(command, *arguments)
            elif "--yes" in options:
                status = self._run_watched(command, *arguments, events=events)
            else:
                status = self._consent(command, *options)
                if status == 0:
                    agreed = ("--yes", "--skip-preview", *arguments)
                    status = self._run_watched(command, *agreed, events=events)
            for line in removal_lines(events, self.stack):
                say(escape(line))
            yield status, events

    def _run_watched(self, command: str, *arguments: str, events: Path) -> int:
        """Run a Pulumi command that asks nothing, in this program's view of its *events*."""
        printed = events.with_name("printed")
        with printed.open("wb") as output, shown(printed, events, self._progress(command)) as end:
            status = self.run(command, *arguments, "--color", "never", output=output)
            end(status == 0)
        return status

    def _consent(self, command: str, *options: str) -> int:
        """Let Pulumi show its plan, and ask whether to go on: the status of what failed, 1 for a no."""
        if command == "destroy":
            plan = [command, "--preview-only", *options]
        else:
            plan = ["preview", *(each for each in options if each != "--continue-on-error")]
        status = self.run(*plan, *self.configured())
        if status == 0 and not typer.confirm(f"Do you want to perform this {ASKED[command]}?"):
            say("nothing was changed")
            return 1
        return status

    def _progress(self, command: str) -> Progress | None:
        """How far a run of this stack is, for a terminal that can show it."""
        if not has_screen():
            return None
        resources = self.checkpoint().get("resources", [])
        nodes = deployed_nodes(resources, self.stack)
        if command == "up":
            settings = self.settings
            wanted = (
                settings.nodes if isinstance(settings, FollowersOnHosts) else settings.node_names
            )
            nodes = list(dict.fromkeys([*wanted, *nodes]))
        return Progress(self.stack, nodes, len(resources))

    def read(self, *arguments: str, stdin: str = "") -> str:
        """What a Pulumi command prints, given *stdin*. Raises :class:`UserError` if it fails, with what to do where
        that is known and with Pulumi's words.

        A question about the state is asked once, until a command from here may have changed it."""
        if arguments in self._answers:
            return self._answers[arguments]
        done = subprocess.run(
            ["pulumi", *arguments],
            env=self.environment,
            cwd=ROOT,
            input=stdin,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            said = done.stderr.strip()
            raise UserError(
                explained(said, self.stack) or f"pulumi {' '.join(arguments)} failed:\n{said}"
            )
        if arguments[0] == "stack" and arguments[1] in LOOKS:
            self._answers[arguments] = done.stdout
        else:
            self.forget()
        return done.stdout

    def forget(self) -> None:
        """Ask Pulumi anew about the state, which somebody may have changed."""
        self._answers.clear()

    @property
    def note(self) -> Path:
        """The file of this checkout that says which lock of the stack's state is its own."""
        return ROOT / ".build" / self.target / f"{self.stack}.pulumi.json"

    def exists(self) -> bool:
        """Whether the backend knows the stack."""
        stacks = json.loads(self.read("stack", "ls", "--json"))
        return any(each["name"].rsplit("/", 1)[-1] == self.stack for each in stacks)

    def require_passphrase(self) -> None:
        """Raise :class:`UserError` unless Pulumi can encrypt for the stack, which must exist.

        Otherwise the run itself would find out, after every check and in Pulumi's own words.
        """
        with TemporaryDirectory() as folder:
            tried = Path(folder) / self.config_file.name
            tried.write_text(self.config_file.read_text())
            file = ["--config-file", str(tried)]
            self.read("config", "set", "--secret", "passphraseProbe", "x", *self.named(), *file)

    def create(self) -> None:
        """Make the stack known to the backend. In the sandbox the user's stack file stays as it is."""
        stack_file = ROOT / "stacks" / self.config_file.name
        before = stack_file.read_text()
        try:
            self.read("stack", "init", self.stack)
        finally:
            if self.sandbox is not None:
                write_stack_file(stack_file, before)

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs; empty before the first deployment."""
        outputs: dict[str, Any] = json.loads(self.read("stack", "output", "--json", *self.named()))
        return outputs

    def checkpoint(self) -> dict[str, Any]:
        """The stack's state: ``resources`` and ``pending_operations``."""
        exported = json.loads(self.read("stack", "export", *self.named()))
        deployment: dict[str, Any] = exported["deployment"]
        return deployment

    def replace_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Make *checkpoint* the stack's state; Pulumi checks that it is sound."""
        exported = json.dumps({"version": 3, "deployment": checkpoint})
        self.read("stack", "import", *self.named(), stdin=exported)

    def client(self, service: str, config: Config | None = None) -> Any:
        """A boto3 client of one AWS service, where this stack is deployed."""
        import boto3  # a fifth of a second that a stack on hosts does without

        where: dict[str, str] = {}
        if self.sandbox is not None:
            environment = self.sandbox.environment()
            where = {
                "endpoint_url": environment["AWS_ENDPOINT_URL"],
                "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
                "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
            }
        region = region_of(service, self.region)
        return boto3.client(service, region_name=region, config=config, **where)

    @property
    def settings(self) -> AnySettings:
        """The settings of the stack file, a private key as encrypted as it is there."""
        return settings_of(self.config)

    def hosts_settings(self) -> FollowersOnHosts | None:
        """The settings of a stack on hosts, its private key decrypted; None on AWS. The stack must exist."""
        settings = self.settings
        if not isinstance(settings, FollowersOnHosts):
            return None
        key = f"{PROJECT}:sshPrivateKey"
        if is_encrypted(self.config.get(key)):
            shown = json.loads(self.read("config", "--json", "--show-secrets", *self.configured()))
            return settings.model_copy(update={"ssh_private_key": shown[key]["value"]})
        return settings

    @property
    def choice(self) -> str:
        """The words after a command that mean this stack in this place."""
        return choice_of(self.stack, self.target)

    @property
    def cluster(self) -> str:
        """Value of the cluster's tag."""
        return f"{PROJECT}/{self.stack}"

    @property
    def region(self) -> str:
        """AWS region of the stack file."""
        return str(self.config["aws:region"])

    @property
    def config(self) -> dict[str, Any]:
        """The keys of the stack file."""
        return config_of(self.config_file)

    def named(self) -> list[str]:
        """The option that names the stack."""
        return ["--stack", self.stack]

    def configured(self) -> list[str]:
        """The options that name the stack and its file."""
        return [*self.named(), "--config-file", str(self.config_file)]


def open_deployment(stack: str, target: Target | None, *, boots: bool) -> Deployment:
    """Make everything ready for *stack*: the engine, and for the sandbox its AWS and, with *boots*, its hosts.

    Without a *target*, the stack ``sandbox`` goes to the sandbox and any other to AWS. Raises :class:`UserError`.
    """
    stack_file = stack_file_of(stack)
    if target is None:
        target = default_target(stack)
    content = read_stack_file(stack_file, rehearsal=target is Target.SANDBOX)
    if dead := without_dead_agent():
        say(f"no SSH agent answers at {escape(dead)} (SSH_AUTH_SOCK), so it is not asked")
    if target is Target.AWS:
        environment = {**os.environ, **program_environment()}
        if os.environ.get("AWS_ACCESS_KEY_ID") == "sandbox":
            raise UserError(
                "this shell points to the sandbox (`./cluster environment`), and the stack "
                f"{stack} is for AWS; open a new shell, or rehearse it: ./cluster up {stack} --target sandbox"
            )
        return Deployment(
            stack=stack, target=target, environment=environment, config_file=stack_file
        )
    # Two downloads or builds of minutes each, the first time: side by side.
    with ThreadPoolExecutor() as aside:
        machines = None if find(SANDBOX_DIRECTORY) else aside.submit(prepare, say)
        environment = {**os.environ, **program_environment()}
        sandbox = start_sandbox(machines.result() if machines else None)
    if sandbox.ssh_agent:
        os.environ["SSH_AUTH_SOCK"] = sandbox.ssh_agent  # this process goes to the hosts too
    config = rehearsed_env(content["config"], content.get("encryptionsalt"), SANDBOX_SALT)
    copy = sandbox_stack_file(stack_file, config, boots=boots)
    environment |= sandbox_environment(sandbox)
    if copy.rehearsed:
        environment |= told(copy.rehearsed.release)
    return Deployment(
        stack=stack,
        target=target,
        environment=environment,
        config_file=copy.file,
        sandbox=sandbox,
        unlike=copy.unlike,
        stand_in=copy.rehearsed.stand_in if copy.rehearsed else None,
    )


def stack_file_of(stack: str) -> Path:
    """The file of a stack. Raises :class:`UserError` where there is none."""
    stack_file = ROOT / "stacks" / f"Pulumi.{stack}.yaml"
    if not stack_file.exists() and not stack_file.is_symlink():
        known = stacks_here()
        meant = did_you_mean(stack, known)
        raise UserError(
            f"there is no {stack_file.relative_to(ROOT)}{f'; {meant}' if meant else ''}; "
            f"stacks here: {', '.join(known) or 'none'}. `./cluster init {stack}` writes one"
        )
    return stack_file


def stacks_here() -> list[str]:
    """The names of the stacks of this checkout."""
    return stacks_in(ROOT / "stacks")


def default_target(stack: str) -> Target:
    """Where a stack goes when nobody says: ``sandbox`` and ``…-sandbox`` to the sandbox, any other for real."""
    return Target.SANDBOX if f"-{stack}".endswith("-sandbox") else Target.AWS


def choice_of(stack: str, target: Target | None) -> str:
    """The words after a command that mean a stack in a place."""
    is_given = target not in (None, default_target(stack))
    return f" {stack}" + (f" --target {target}" if is_given else "")


def program_environment() -> dict[str, str]:
    """What every Pulumi command of this project needs: the engine and this Python first on PATH.

    The preflight of a deployment is made by the command that runs Pulumi, before it.
    """
    directory = ensure(say)
    path = [str(Path(sys.executable).parent), str(directory), os.environ.get("PATH", os.defpath)]
    return {
        "PATH": os.pathsep.join(path),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DEBUG_COMMANDS": "true",  # which has --event-log
        DONE: "done",
    }


def sandbox_environment(sandbox: Sandbox) -> dict[str, str]:
    """What points Pulumi and the AWS SDK to the sandbox, and to nothing else."""
    state = SANDBOX_DIRECTORY / "state"
    state.mkdir(parents=True, exist_ok=True)
    return {
        **sandbox.environment(),
        "PULUMI_HOME": str(SANDBOX_DIRECTORY / "pulumi"),
        # Without side files every write of the state is one rename, whole for readers and for whoever is killed.
        "PULUMI_BACKEND_URL": f"file://{state}?metadata=skip",
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }


def start_sandbox(machines: Machines | None) -> Sandbox:
    """The running sandbox of this checkout, started if need be; it boots *machines*, or records them."""
    if found := find(SANDBOX_DIRECTORY):
        return found
    port = os.environ.get("SANDBOX_PORT", "0")
    if not port.isdigit():
        raise UserError(f"SANDBOX_PORT: got {port!r}; a port number is allowed, or nothing at all")
    try:
        sandbox = start(SANDBOX_DIRECTORY, aws_port=int(port), machines=machines)
    except SandboxError as error:
        raise UserError(str(error)) from None
    say(f"sandbox AWS started at {sandbox.aws_endpoint}")
    return sandbox


@dataclass(frozen=True, kw_only=True)
class _Copy:
    """A stack file as the sandbox has it."""

    file: Path
    unlike: Mapping[str, Unlike]
    """Nodes on hosts whose machine is not as the user's file has it."""
    rehearsed: Rehearsed | None
    """The release, where it is in the sandbox's S3 and not where the user's file says."""


def sandbox_stack_file(stack_file: Path, config: dict[str, Any], *, boots: bool) -> _Copy:
    """A copy of a stack file for the sandbox, so that what is the sandbox's never shows in the user's file.

    *boots* sees to the machines of hosts.
    """
    settings = settings_of(config)
    stack = stack_in(stack_file)
    at_home = default_target(stack) is Target.SANDBOX
    unlike: Mapping[str, Unlike] = {}
    rehearsed: Rehearsed | None = None
    release = release_of_cluster(SANDBOX_DIRECTORY, settings)
    if isinstance(settings, FollowersOnHosts):
        rehearsal = rehearsed_hosts(
            config, settings, release, SANDBOX_DIRECTORY, stack, SANDBOX_SALT, boots=boots
        )
        config, unlike = rehearsal.config, rehearsal.unlike
    else:
        region = config["aws:region"]
        rehearse_images(SANDBOX_DIRECTORY, region, settings.image, release, own=not at_home)
        if isinstance(settings, Settings):
            rehearsed = rehearsed_release(
                SANDBOX_DIRECTORY, stack, settings, region, at_home=at_home
            )
        if rehearsed:
            config = with_release(config, rehearsed.release)
    copy = SANDBOX_DIRECTORY / "stacks" / stack_file.name
    copy.parent.mkdir(parents=True, exist_ok=True)
    partial = copy.with_name(f".{copy.name}")
    partial.touch(mode=0o600)
    partial.write_text(dumped({"config": config, "encryptionsalt": SANDBOX_SALT}))
    partial.replace(copy)
    return _Copy(file=copy, unlike=unlike, rehearsed=rehearsed)
