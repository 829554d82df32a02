"""A checkout of this project of its own, used the way a user does: by its commands, with its own sandbox."""

import functools
import importlib.util
import json
import os
import py_compile
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import jmespath
import yaml

from tests.harness import ROOT

LISTED = {
    "vpcs": ("ec2", "describe_vpcs", "Vpcs[?!IsDefault]"),
    "subnets": ("ec2", "describe_subnets", "Subnets[?!DefaultForAz]"),
    "internet gateways": ("ec2", "describe_internet_gateways", "InternetGateways[]"),
    "nat gateways": ("ec2", "describe_nat_gateways", "NatGateways[?State=='available']"),
    "addresses": ("ec2", "describe_addresses", "Addresses[]"),
    "route tables": ("ec2", "describe_route_tables", "RouteTables[?Tags]"),
    "security groups": ("ec2", "describe_security_groups", "SecurityGroups[?GroupName!='default']"),
    "security group rules": ("ec2", "describe_security_group_rules", "SecurityGroupRules[?Tags]"),
    "network interfaces": ("ec2", "describe_network_interfaces", "NetworkInterfaces[?TagSet]"),
    "volumes": ("ec2", "describe_volumes", "Volumes[]"),
    "snapshot policies": ("dlm", "get_lifecycle_policies", "Policies[]"),
    "instances": (
        "ec2",
        "describe_instances",
        "Reservations[].Instances[?State.Name=='running'][]",
    ),
    "capacity reservations": (
        "ec2",
        "describe_capacity_reservations",
        "CapacityReservations[?State=='active']",
    ),
    "launch templates": ("ec2", "describe_launch_templates", "LaunchTemplates[]"),
    "endpoints": ("ec2", "describe_vpc_endpoints", "VpcEndpoints[?State=='available']"),
    "flow logs": ("ec2", "describe_flow_logs", "FlowLogs[]"),
    "groups": ("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups[]"),
    "file systems": ("efs", "describe_file_systems", "FileSystems[]"),
    # The one of releases is the account's, and outlives every cluster.
    "buckets": ("s3", "list_buckets", "Buckets[?!starts_with(Name, 'graphistry-releases-')]"),
    "secrets": ("secretsmanager", "list_secrets", "SecretList[]"),
    "roles": ("iam", "list_roles", "Roles[]"),
    "instance profiles": ("iam", "list_instance_profiles", "InstanceProfiles[]"),
    "zones": ("route53", "list_hosted_zones", "HostedZones[]"),
    "log groups": ("logs", "describe_log_groups", "logGroups[]"),
    "event rules": ("events", "list_rules", "Rules[]"),
    "documents": ("ssm", "list_documents", "DocumentIdentifiers[]"),
}
"""Kind to the service, the operation, and what in its answer counts as ours."""

ARGUMENTS = {"documents": {"Filters": [{"Key": "Owner", "Values": ["Self"]}]}}


@functools.cache
def aws_client(service: str, endpoint: str) -> Any:
    """A client of a sandbox's AWS. It is kept, as it takes longer to make than to answer."""
    return boto3.client(
        service,
        region_name="us-east-1",
        endpoint_url=endpoint,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def _copy_compiled(name: str, root: Path) -> None:
    """Copy what Python makes of a file, which would be made anew by each process of each checkout."""
    made, copy = (Path(importlib.util.cache_from_source(str(each / name))) for each in (ROOT, root))
    if not made.exists() or made.stat().st_mtime < (ROOT / name).stat().st_mtime:
        # Also where the environment says that Python must not by itself.
        py_compile.compile(str(ROOT / name))
    copy.parent.mkdir(exist_ok=True)
    shutil.copy(made, copy)


@dataclass(frozen=True)
class Checkout:
    """One checkout and the sandbox that belongs to it."""

    root: Path
    stack: str = "sandbox"
    """Whose file is changed, and whose state is read."""

    @staticmethod
    def create(root: Path) -> "Checkout":
        """Copy what git would give a user."""
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for name in listed.rstrip("\0").split("\0"):
            if (ROOT / name).is_file() or (ROOT / name).is_symlink():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, root / name, follow_symlinks=False)
                if name.endswith(".py") and not name.startswith("tests/"):
                    _copy_compiled(name, root)
        # What `make` would set up there.
        (root / ".venv").symlink_to(sys.prefix)
        return Checkout(root)

    def add(self, stack: str, **keys: Any) -> "Checkout":
        """The same checkout seen from another stack, whose file has *keys*."""
        config = {f"graphistry-cluster:{key}": value for key, value in keys.items()}
        content = {"config": {"aws:region": "us-east-1", **config}}
        (self.root / "stacks" / f"Pulumi.{stack}.yaml").write_text(yaml.safe_dump(content))
        return replace(self, stack=stack)

    def add_gpu_team(self) -> "Checkout":
        """The team of stacks/Pulumi.gpu-team.yaml, joined to the leader of this stack."""
        team = replace(self, stack="gpu-team")
        taken = {key: team.setting(key) for key in ("gpuProfiles", "followers", "tags")}
        return self.add("team-sandbox", leaderStack=self.full_name, **taken)

    @property
    def full_name(self) -> str:
        """The stack's name as ``leaderStack`` wants it."""
        return f"organization/graphistry-cluster/{self.stack}"

    def publish(self, stack: str) -> None:
        """Publish a stand-in for the release of an account's stack, which is to be rehearsed."""
        file = str(self.root / "graphistry.tar.gz")
        self.succeed("stand-in", stack, file)
        self.succeed("publish", stack, file, "--target", "sandbox")

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "operate", *arguments]

    def operate(
        self, *arguments: str, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the operator's commands; both streams are in ``stdout``."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.root,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def succeed(self, *arguments: str) -> str:
        """The output of a command that must succeed."""
        done = self.operate(*arguments)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def environment(self) -> dict[str, str]:
        """What ``./cluster environment`` gives a shell."""
        done = subprocess.run(
            self.command("environment"), cwd=self.root, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        words = [shlex.split(line)[1].split("=", 1) for line in done.stdout.splitlines()]
        return dict(words)

    def pulumi(
        self, *arguments: str, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run plain Pulumi as the README tells."""
        return subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.root,
            env={**os.environ, **self.environment(), **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
        )

    def plan(self, *arguments: str) -> dict[str, list[str]]:
        """Operation to the names it would be done to, ``same`` left out."""
        shown = self.pulumi("preview", "--json", "--stack", self.stack, *arguments)
        assert shown.returncode == 0, shown.stdout + shown.stderr
        steps = json.loads(shown.stdout[shown.stdout.index("{") :]).get("steps", [])
        found: dict[str, list[str]] = {}
        for step in steps:
            if step["op"] not in ("same", "refresh", "read"):
                kind, name = step["urn"].split("::")[-2:]
                found.setdefault(step["op"], []).append(f"{kind.rsplit(':', 1)[-1]} {name}")
        return {operation: sorted(names) for operation, names in found.items()}

    def state(self) -> str:
        """Everything Pulumi has written down, history included."""
        files = (self.root / ".sandbox" / "state").rglob("*")
        return "\n".join(each.read_text(errors="replace") for each in files if each.is_file())

    def resources(self) -> list[dict[str, Any]]:
        """The resources in the stack's state."""
        exported = self.pulumi("stack", "export", "--stack", self.stack)
        assert exported.returncode == 0, exported.stderr
        found: list[dict[str, Any]] = json.loads(exported.stdout)["deployment"].get("resources", [])
        return found

    def state_of(self, kind: str) -> dict[str, Any]:
        """The one resource of a type in the state."""
        (found,) = (each for each in self.resources() if each["type"] == kind)
        return found

    def client(self, service: str) -> Any:
        """A client of the sandbox's AWS."""
        return aws_client(service, self.daemon()["aws_endpoint"])

    def daemon(self) -> dict[str, Any]:
        """What the sandbox wrote down of itself."""
        content: dict[str, Any] = json.loads((self.root / ".sandbox" / "daemon.json").read_text())
        return content

    def account(self) -> Counter[str]:
        """What the sandbox's AWS account holds: kind to number."""
        held: Counter[str] = Counter()
        for kind, (service, operation, expression) in LISTED.items():
            answer = getattr(self.client(service), operation)(**ARGUMENTS.get(kind, {}))
            held[kind] = len(jmespath.search(expression, answer) or [])
        return held

    def change(self, **keys: Any) -> None:
        """Change keys of the stack file; None takes one out."""
        path = self.root / "stacks" / f"Pulumi.{self.stack}.yaml"
        content = yaml.safe_load(path.read_text())
        for key, value in keys.items():
            content["config"][f"graphistry-cluster:{key}"] = value
            if value is None:
                del content["config"][f"graphistry-cluster:{key}"]
        path.write_text(yaml.safe_dump(content))

    def setting(self, key: str) -> Any:
        """One key of the stack file."""
        path = self.root / "stacks" / f"Pulumi.{self.stack}.yaml"
        return yaml.safe_load(path.read_text())["config"][f"graphistry-cluster:{key}"]
