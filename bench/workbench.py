"""A private sandbox with a state of its own, and the two programs that are deployed to it.

Nothing is shared with the checkout's own sandbox, which may be in use.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.config import Config

from model.problems import UserError
from model.rehearsal import told
from model.settings.aws import Settings
from model.settings.sections import Release
from model.settings.stack_keys import PROJECT
from operate.release.release_archive import inspect
from operate.release.storing import stored
from operate.stack.deployment import ROOT, SANDBOX_SALT, program_environment
from operate.stack.rehearsed_release import rehearsed_release
from operate.stack.stack_file import settings_of
from sandbox.lifecycle import Sandbox, SandboxError, start, stop
from sandbox.machines.availability import Machines

FLOOR = Path(__file__).with_name("floor")

STACK = "bench"

SANDBOX_STACK_FILE = ROOT / "stacks" / "Pulumi.sandbox.yaml"

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "preview": ("preview",),
    "up": ("up", "--yes", "--skip-preview"),
    "no change": ("preview", "--expect-no-changes"),
}
"""What is timed, in this order, from an empty state."""


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """One program, deployed once from nothing."""

    seconds: dict[str, float]
    """Command to its wall time."""

    resources: list[dict[str, Any]]
    """The resources of the state."""


@dataclass(frozen=True, kw_only=True)
class Workbench:
    """A running sandbox, and a directory for everything else."""

    directory: Path
    environment: Mapping[str, str]

    commands: Sequence[str]
    """Which of :data:`COMMANDS` are timed."""

    destroy: bool
    """Whether each deployment is destroyed in the end, so that the next one finds an empty AWS."""

    def deploy(self, program: Path, config: Mapping[str, Any]) -> Deployed:
        """Time the commands on a project with an empty state.

        Raises :class:`UserError` with Pulumi's own words if one of them fails.
        """
        with tempfile.TemporaryDirectory(dir=self.directory) as name:
            stack = Stack.new(Path(name), program, config, self.environment)
            seconds = {}
            for command in self.commands:
                before = time.perf_counter()
                stack.pulumi(*COMMANDS[command], *stack.configured())
                seconds[command] = time.perf_counter() - before
            exported = json.loads(stack.pulumi("stack", "export", "--stack", STACK))
            if self.destroy:
                stack.pulumi("destroy", "--yes", "--skip-preview", *stack.configured())
        return Deployed(seconds=seconds, resources=exported["deployment"]["resources"])

    def deploy_cluster(self, followers: int) -> Deployed:
        """Deploy this repository's program."""
        return self.deploy(ROOT, cluster_config(followers))

    def deploy_floor(self, recording: Mapping[str, Any]) -> Deployed:
        """Deploy the same resources flat."""
        file = self.directory / "recording.json"
        file.write_text(json.dumps(recording))
        region = cluster_config(0)["aws:region"]
        config = {"aws:region": region, f"{PROJECT}:recording": str(file)}
        return self.deploy(FLOOR, config)


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A stack with a backend of its own, so that no run finds the history of another."""

    program: Path
    config_file: Path
    environment: Mapping[str, str]

    @classmethod
    def new(
        cls,
        directory: Path,
        program: Path,
        config: Mapping[str, Any],
        environment: Mapping[str, str],
    ) -> Stack:
        """An empty stack of *program*, everything of which is below *directory*."""
        state, nowhere = directory / "state", directory / "nowhere"
        state.mkdir()
        nowhere.mkdir()
        # `stack init` writes a stack file into the project that it is called in.
        (nowhere / "Pulumi.yaml").write_text(f"name: {PROJECT}\nruntime: python\n")
        stack = cls(
            program=program,
            config_file=directory / f"Pulumi.{STACK}.yaml",
            environment={**environment, "PULUMI_BACKEND_URL": f"file://{state}"},
        )
        stack.configure(config)
        stack.pulumi("-C", str(nowhere), "stack", "init", STACK)
        return stack

    def configure(self, config: Mapping[str, Any]) -> None:
        """Write the stack file."""
        content = {"config": dict(config), "encryptionsalt": SANDBOX_SALT}
        self.config_file.write_text(yaml.safe_dump(content))

    def configured(self) -> list[str]:
        """The options that name the stack and its file."""
        return ["--stack", STACK, "--config-file", str(self.config_file)]

    def pulumi(self, *arguments: str) -> str:
        """What a Pulumi command prints. Raises :class:`UserError` with Pulumi's own words if it fails."""
        done = subprocess.run(
            ["pulumi", *arguments],
            cwd=self.program,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            said = f"{done.stdout.strip()}\n{done.stderr.strip()}".strip()
            raise UserError(f"pulumi {' '.join(arguments)} in {self.program} failed:\n{said}")
        return done.stdout


@contextmanager
def workbench(
    commands: Sequence[str], *, destroy: bool, machines: Machines | None = None
) -> Iterator[Workbench]:
    """A workbench that leaves nothing behind; it boots *machines*, or records them.

    Raises :class:`UserError` when the sandbox does not start.
    """
    with tempfile.TemporaryDirectory(prefix="graphistry-cluster-bench-") as name:
        directory = Path(name)
        try:
            sandbox = start(directory / "sandbox", machines=machines)
        except SandboxError as error:
            raise UserError(str(error)) from None
        try:
            release = _stand_in(directory, sandbox)
            yield Workbench(
                directory=directory,
                commands=commands,
                destroy=destroy,
                environment={
                    **os.environ,
                    **program_environment(),
                    **sandbox.environment(),
                    **told(release),
                    "PULUMI_HOME": str(directory / "pulumi"),
                    "PULUMI_CONFIG_PASSPHRASE": "",
                    "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
                },
            )
        finally:
            stop(directory / "sandbox")


def _stand_in(directory: Path, sandbox: Sandbox) -> Release:
    """The release that the nodes fetch, once it is in the sandbox's S3."""
    config = cluster_config(0)
    settings, region = settings_of(config), str(config["aws:region"])
    assert isinstance(settings, Settings)  # noqa: S101 the stack file has a leader
    rehearsed = rehearsed_release(directory, STACK, settings, region, at_home=True)
    assert rehearsed is not None  # noqa: S101 and names no archive
    assert rehearsed.stand_in is not None  # noqa: S101 nor was one published

    def client(service: str, config: Config) -> Any:
        keys = {"aws_access_key_id": "bench", "aws_secret_access_key": "bench"}  # moto takes any
        return boto3.client(
            service, region, endpoint_url=sandbox.aws_endpoint, config=config, **keys
        )

    stored(client, region, inspect(rehearsed.stand_in))
    return rehearsed.release


def cluster_config(followers: int) -> dict[str, Any]:
    """The configuration of the stack ``sandbox`` with that many followers, its own ones in turn, and no protection."""
    config: dict[str, Any] = yaml.safe_load(SANDBOX_STACK_FILE.read_text())["config"]
    pattern = itertools.cycle(config[f"{PROJECT}:followers"].values())
    return {
        **config,
        f"{PROJECT}:followers": {
            f"node-{number:03}": follower
            for number, follower in zip(range(followers), pattern, strict=False)
        },
        f"{PROJECT}:deleteData": STACK,
    }
