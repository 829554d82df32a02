"""A whole cluster on machines that really boot: what a test does to a node, and what it waits for."""

from __future__ import annotations

import fcntl
import functools
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import docker.errors

from sandbox.machines import inside, private_docker
from tests.deployment.checkout import Checkout

SHORT = {
    "GRAPHISTRY_CLUSTER_PATIENCE": "40",
    "GRAPHISTRY_CLUSTER_HEALTH_SECONDS": "60",
    "GRAPHISTRY_CLUSTER_POLL_SECONDS": "1",
    "GRAPHISTRY_CLUSTER_WATCH_SECONDS": "3",
    "GRAPHISTRY_CLUSTER_SILENT_SECONDS": "30",
    "GRAPHISTRY_CLUSTER_GPU_SECONDS": "8",
    "GRAPHISTRY_CLUSTER_RETRY_SECONDS": "2",
    "GRAPHISTRY_CLUSTER_REPAIR_SECONDS": "3",
    "GRAPHISTRY_CLUSTER_FREE_GIB": "1",
}
"""The agent's waits, so short that a test sees their end."""

BOUND_SECONDS = 240
"""Of every wait for what is seen within seconds where the computer has nothing else to do."""

SERVICE = "com.docker.compose.service"
"""The label by which Compose names a container's service."""

BOOTING = Path(tempfile.gettempdir(), "graphistry-cluster-booting")
"""Locked by the process of tests whose cluster boots."""

ON = {"SANDBOX_MACHINES": "on", **SHORT}

Report = dict[str, Any]

_connected = functools.cache(private_docker.connect)


def changed_nothing(output: str) -> bool:
    """Whether Pulumi's summary counts unchanged resources and no others."""
    return re.search(r"^Resources:\n +\d+ unchanged\n(\n|\Z)", output, re.MULTILINE) is not None


def tells(output: str, sentence: str) -> bool:
    """Whether the words of a sentence stand in an output, in their order; in a table another column is between them."""
    shown = iter(output.split())
    return all(word in shown for word in sentence.split())


def shell(machine: Any, command: str) -> subprocess.CompletedProcess[str]:
    """Run a shell command as root on a machine; both streams are in ``stdout``."""
    done = inside.execute(machine.client, machine.id, ["bash", "-c", f"exec 2>&1; {command}"])
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode())


@dataclass(frozen=True)
class Cluster:
    """One checkout whose sandbox boots machines."""

    checkout: Checkout

    release = "/opt/graphistry-cluster/releases/2.50.1-12"
    """Where the release of the stack ``sandbox`` is on its nodes, which fetch it."""

    def operate(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One of the operator's commands on the stack; both streams are in ``stdout``."""
        return self.checkout.operate(command, self.checkout.stack, *arguments, environment=ON)

    def up(self) -> subprocess.CompletedProcess[str]:
        """`./cluster up`."""
        return self.operate("up")

    def succeed(self) -> str:
        """The output of a `./cluster up` that must succeed."""
        done = self.up()
        assert done.returncode == 0, done.stdout
        return done.stdout

    def boot(self) -> None:
        """The first `up`, of one cluster at a time: a computer that boots several at once is too slow for any."""
        with BOOTING.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.succeed()

    def nodes(self) -> dict[str, dict[str, Any]]:
        """The rows of `./cluster status`, by node."""
        shown = self.operate("status", "--json")
        assert shown.returncode == 0, shown.stdout
        return {node["name"]: node for node in json.loads(shown.stdout[shown.stdout.index("[") :])}

    def proofs(self) -> list[dict[str, Any]]:
        """What `./cluster prove` has tried, whether it was kept or not."""
        done = self.operate("prove", "--json")
        found: list[dict[str, Any]] = json.loads(
            done.stdout[done.stdout.index("[") : done.stdout.rindex("]") + 1]
        )
        return found

    def machine(self, node: str) -> Any:
        """The container under a node, as the Docker SDK sees it."""
        return self.container(self.instance(node))

    def container(self, instance: str) -> Any:
        """The container of an instance, once it runs."""
        docker_client = _connected(self.checkout.daemon()["docker_host"])
        end = time.monotonic() + BOUND_SECONDS
        while True:
            try:
                found = docker_client.containers.get(instance)
                if found.status == "running" or time.monotonic() > end:
                    return found
            except docker.errors.NotFound:
                if time.monotonic() > end:
                    raise
            time.sleep(0.3)

    def instance(self, node: str) -> str:
        """Id of the node's machine. Raises KeyError while it has none."""
        name = f"graphistry-{self.checkout.stack}-{node}"
        found = self.checkout.client("ec2").describe_instances(
            Filters=[
                {"Name": "tag:Name", "Values": [name]},
                {"Name": "instance-state-name", "Values": ["pending", "running", "stopped"]},
            ]
        )["Reservations"]
        if not found:
            raise KeyError(node)
        return str(found[-1]["Instances"][0]["InstanceId"])

    def run(self, node: str, command: str) -> str:
        """What a shell command prints on a node, as root; it must succeed."""
        done = shell(self.machine(node), command)
        assert done.returncode == 0, f"{node}: {command}: {done.stdout}"
        return done.stdout

    def exercise(self, node: str, *words: str) -> dict[str, Any]:
        """The answer of one of the agent's exercises, which must succeed."""
        command = f"/usr/bin/python3 /opt/graphistry-cluster/agent.pyz exercise {' '.join(words)}"
        found: dict[str, Any] = json.loads(self.run(node, command))
        return found

    def reboot(self, node: str) -> Report:
        """Reboot a node from inside; its first report after that."""
        before = self.report(node)["startedAt"]
        shell(self.machine(node), "systemctl reboot")
        return self.until(node, lambda report: report["startedAt"] != before)

    def services_started(self, node: str) -> dict[str, str]:
        """When each service's container was started last; 0 while it does not run."""
        shown = '{{index .Config.Labels "com.docker.compose.service"}} {{.State.Running}} {{.State.StartedAt}}'
        lines = self.run(
            node,
            f"docker ps -aq --filter label={SERVICE} | xargs -r docker inspect -f '{shown}'",
        ).splitlines()
        found = {}
        for name, is_running, started in map(str.split, lines):
            found[name] = started if is_running == "true" else "0"
        return found

    def service(self, node: str, name: str) -> str:
        """The id of a service's container."""
        filters = f"--filter label={SERVICE}={name}"
        return self.run(node, f"docker ps -aq --no-trunc {filters}").strip()

    def members(self) -> dict[str, tuple[str, str]]:
        """Instance and health of every Auto Scaling group's one machine, by group."""
        groups = self.checkout.client("autoscaling").describe_auto_scaling_groups()
        return {
            group["AutoScalingGroupName"]: (each["InstanceId"], each["HealthStatus"])
            for group in groups["AutoScalingGroups"]
            for each in group["Instances"]
        }

    def edit_machine(self, node: str, **changes: Any) -> None:
        """Change what the stand-in nvidia-smi of a node tells."""
        path = self.sandbox_file(node, "machine.json")
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    def sandbox_file(self, node: str, name: str) -> Path:
        """A file of a node's present machine below /etc/graphistry-sandbox."""
        return self.checkout.root / ".sandbox/machines" / self.instance(node) / name

    def restart_agent(self, node: str) -> None:
        """Let a node's agent converge from the first phase on."""
        self.run(node, "systemctl restart graphistry-cluster-agent")

    def begin_up(self) -> Up:
        """`./cluster up`, running."""
        return self.begin_up_on(self.checkout.stack)

    def begin_up_on(self, stack: str) -> Up:
        """`./cluster up` of a stack, running."""
        return Up(
            subprocess.Popen(
                self.checkout.command("up", stack),
                cwd=self.checkout.root,
                env={**os.environ, **ON},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        )

    def trap(self, node: str, **traps: Any) -> None:
        """Set the traps of the stand-in release on a node's present machine: it is another release from then on."""
        self.sandbox_file(node, "traps.json").write_text(json.dumps(traps))
        self.run(node, f"touch -c {self.release}/graphistry || true")

    @property
    def bucket(self) -> str:
        """The bucket of specifications and reports."""
        buckets = self.checkout.client("s3").list_buckets()["Buckets"]
        prefix = f"graphistry-{self.checkout.stack}-documents-"
        (name,) = [each["Name"] for each in buckets if each["Name"].startswith(prefix)]
        return str(name)

    def report(self, node: str) -> Report:
        """The node's last report; empty while there is none of its present machine."""
        s3 = self.checkout.client("s3")
        try:
            body = s3.get_object(Bucket=self.bucket, Key=f"nodes/{node}/report.json")["Body"].read()
        except s3.exceptions.NoSuchKey:
            return {}
        found: Report = json.loads(body)
        mine = found.get("instance", {}).get("id") == self.instance(node)
        return found if mine else {}

    def until(self, node: str, wanted: Callable[[Report], object]) -> Report:
        """The first report of a node that is as *wanted*; fails with the last one."""
        end = time.monotonic() + BOUND_SECONDS
        found: Report = {}
        while time.monotonic() < end:
            try:
                found = self.report(node)
            except KeyError:
                found = {}
            if found and wanted(found):
                return found
            time.sleep(0.3)
        raise AssertionError(f"{node} after {BOUND_SECONDS} s: {json.dumps(found, indent=1)}")

    def until_ready(self, node: str) -> Report:
        """Wait until a node is ready."""
        return self.until(node, lambda report: report["state"] == "ready")

    def until_reads(self, node: str, dataset: str) -> None:
        """Wait until a node reads a data set of five edges.

        After a short outage it may not have noticed, or be ready as of before: its reading tells.
        """
        end = time.monotonic() + BOUND_SECONDS
        while True:
            try:
                assert self.exercise(node, "read", dataset) == {"edges": 5}
                return
            except AssertionError:
                if time.monotonic() > end:
                    raise
            time.sleep(1)

    def until_failed(self, node: str, code: str) -> dict[str, Any]:
        """The failure of a node, once it is failed or degraded with *code*."""
        report = self.until(
            node,
            lambda report: (
                report["state"] in ("failed", "degraded")
                and (report["failure"] or {}).get("code") == code
            ),
        )
        failure: dict[str, Any] = report["failure"]
        assert failure["message"]
        assert failure["hint"]
        return failure


class Up:
    """A `./cluster up` while it runs: its lines with the time at which each was printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[tuple[float, str]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append((time.time(), line.rstrip("\n")))

    @property
    def text(self) -> str:
        """Everything printed so far."""
        return "\n".join(line for _, line in self.lines)

    def until_printed(self, text: str) -> float:
        """When a line with *text* was printed."""
        end = time.monotonic() + BOUND_SECONDS
        while time.monotonic() < end:
            for when, line in list(self.lines):
                if text in line:
                    return when
            assert self.process.poll() is None or self._reader.is_alive(), self.text
            time.sleep(0.1)
        raise AssertionError(f"no {text!r} after {BOUND_SECONDS} s: {self.text}")

    def wait(self) -> int:
        """Its exit status."""
        status = self.process.wait(BOUND_SECONDS)
        self._reader.join(10)
        return status

    def kill(self) -> None:
        """`kill -9` of the whole process group."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.wait()


def check(report: Report, name: str) -> dict[str, Any]:
    """One check of a report."""
    found: dict[str, Any] = next(each for each in report["checks"] if each["name"] == name)
    return found


def cluster_environment() -> dict[str, str]:
    """The environment of a process that must see booting machines."""
    return {**os.environ, **ON}
