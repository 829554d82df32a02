"""A small cloud for the tests of machines: a network, a role, groups, and instances in it."""

from __future__ import annotations

import base64
import functools
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import docker
import docker.errors

from sandbox import lifecycle
from sandbox.lifecycle import Sandbox
from sandbox.machines import inside, private_docker
from sandbox.machines.availability import Machines
from sandbox.machines.commands import MachineError
from sandbox.provider.images import OWNER

_connected = functools.cache(private_docker.connect)

REGION = "us-east-1"
ZONES = (f"{REGION}a", f"{REGION}b")
BOOT_SECONDS = 90
"""Longest that a test waits for anything; a boot takes 5 s on an idle machine."""

ADDRESSES = r"ip -4 -o address show dev eth0 | sed 's|.*inet \([0-9.]*\)/.*|\1|'"
"""Prints what addresses a machine has in its network, which are not all: its Docker has one of its own."""


def until(condition: Callable[[], Any], what: str, seconds: float = BOOT_SECONDS) -> Any:
    """What a condition gives as soon as it gives something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds:g} s: {what}")


@dataclass
class World:
    """What the tests need to exist, in one sandbox."""

    sandbox: Sandbox
    image: str
    vpc: str
    subnets: list[str]
    group: str
    """Of the nodes; lets in port 5432 and 8080 from itself."""
    stranger: str
    """A group that nobody's rule names."""
    profile: str

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.sandbox.aws_endpoint,
            aws_access_key_id="sandbox",
            aws_secret_access_key="sandbox",
        )

    def run(
        self,
        user_data: str = "",
        group: str | None = None,
        kind: str = "g4dn.xlarge",
        image: str | None = None,
        **more: Any,
    ) -> str:
        """Run an instance; its id."""
        if "NetworkInterfaces" not in more:
            more |= {"SubnetId": self.subnets[0], "SecurityGroupIds": [group or self.group]}
        answer = self.client("ec2").run_instances(
            ImageId=image or self.image,
            InstanceType=kind,
            IamInstanceProfile={"Name": self.profile},
            UserData=f"#!/bin/sh\n{user_data}\n",
            MinCount=1,
            MaxCount=1,
            **more,
        )
        return str(answer["Instances"][0]["InstanceId"])

    def docker(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        assert self.sandbox.docker_host
        return subprocess.run(
            ["docker", "-H", self.sandbox.docker_host, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
        )

    def ask(self, machine: str, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script on a machine, which may be none that runs."""
        assert self.sandbox.docker_host
        try:
            done = inside.execute(
                _connected(self.sandbox.docker_host), machine, ["sh", "-c", script]
            )
        except (MachineError, docker.errors.NotFound) as error:
            return subprocess.CompletedProcess([], 1, "", str(error))
        output, errors = done.stdout.decode(), done.stderr.decode()
        return subprocess.CompletedProcess(done.args, done.returncode, output, errors)

    def shell(self, machine: str, script: str) -> str:
        """What a script prints on a machine; fails with its words."""
        done = self.ask(machine, script)
        assert done.returncode == 0, (script, done.stdout, done.stderr)
        return done.stdout.strip()

    def succeeds(self, machine: str, script: str) -> bool:
        return self.ask(machine, script).returncode == 0

    def inspect(self, machine: str) -> dict[str, Any]:
        """A container's state, or nothing."""
        done = self.docker("inspect", machine)
        return dict(json.loads(done.stdout)[0]["State"]) if done.returncode == 0 else {}

    def gone(self, machine: str) -> bool:
        return not self.inspect(machine)

    def console(self, machine: str) -> str:
        log = self.sandbox.directory / "machines" / machine / "console.log"
        return log.read_text() if log.exists() else ""

    def booted(self, machine: str) -> str:
        """Wait until a machine has finished its user data; its id."""
        until(lambda: "finished at" in self.console(machine), f"{machine} finishes its user data")
        return machine


def build(sandbox: Sandbox) -> World:
    """Make the small cloud."""
    world = World(sandbox, "", "", [], "", "", "world")
    ec2, iam = world.client("ec2"), world.client("iam")
    images = until(lambda: ec2.describe_images(Owners=[OWNER])["Images"], "stand-in images")
    world.image = images[0]["ImageId"]
    world.vpc = ec2.create_vpc(CidrBlock="10.40.0.0/16")["Vpc"]["VpcId"]
    for index, zone in enumerate(ZONES):
        block = f"10.40.{index}.0/24"
        subnet = ec2.create_subnet(VpcId=world.vpc, CidrBlock=block, AvailabilityZone=zone)
        world.subnets.append(subnet["Subnet"]["SubnetId"])
    world.group = group(world, "nodes")
    world.stranger = group(world, "stranger")
    for port in (5432, 8080):
        allow(world, world.group, port, world.group)
    iam.create_role(RoleName="node", AssumeRolePolicyDocument='{"Version":"2012-10-17"}')
    iam.create_instance_profile(InstanceProfileName=world.profile)
    iam.add_role_to_instance_profile(InstanceProfileName=world.profile, RoleName="node")
    return world


def group(world: World, name: str) -> str:
    ec2 = world.client("ec2")
    made = ec2.create_security_group(GroupName=name, Description=name, VpcId=world.vpc)
    return str(made["GroupId"])


def allow(world: World, target: str, port: int, source: str) -> None:
    world.client("ec2").authorize_security_group_ingress(
        GroupId=target,
        IpPermissions=[
            {
                "IpProtocol": "tcp",
                "FromPort": port,
                "ToPort": port,
                "UserIdGroupPairs": [{"GroupId": source}],
            }
        ],
    )


def launch_group(world: World, name: str, user_data: str) -> None:
    """An Auto Scaling group of one, as a follower is."""
    world.client("ec2").create_launch_template(
        LaunchTemplateName=name,
        LaunchTemplateData={
            "ImageId": world.image,
            "UserData": base64.b64encode(f"#!/bin/sh\n{user_data}\n".encode()).decode(),
            "IamInstanceProfile": {"Name": world.profile},
            "NetworkInterfaces": [{"DeviceIndex": 0, "Groups": [world.group]}],
            "TagSpecifications": [
                {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": name}]}
            ],
        },
    )
    template = {"LaunchTemplateName": name, "Version": "$Default"}
    world.client("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName=name,
        MinSize=1,
        MaxSize=1,
        DesiredCapacity=1,
        VPCZoneIdentifier=",".join(world.subnets),
        MixedInstancesPolicy={
            "LaunchTemplate": {
                "LaunchTemplateSpecification": template,
                "Overrides": [{"InstanceType": "g4dn.xlarge"}],
            }
        },
    )


def member(world: World, name: str) -> str:
    """The id of the one instance of a group, or nothing."""
    answer = world.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[name])
    instances = answer["AutoScalingGroups"][0]["Instances"]
    return str(instances[0]["InstanceId"]) if instances else ""


def start(directory: Path, machines: Machines) -> World:
    return build(lifecycle.start(directory, machines=machines))


def remove(directory: Path) -> None:
    """End a sandbox and its images, which are too large to stay in the tests' folder."""
    lifecycle.stop(directory)
    shutil.rmtree(directory, ignore_errors=True)
