"""Runs a program against Pulumi's mock engine and keeps every registration as plain data.

Assertions then read what was registered, options included; none hides in an ``apply`` that might not run.
"""

import asyncio
import copy
import functools
import runpy
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pulumi
import yaml
from pulumi.runtime import mocks, rpc
from pulumi.runtime.proto.source_pb2 import StackTrace

from model.settings.hosts import ANY_HOST_KEY
from operate.stack.stack_file import named_hosts

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "graphistry-cluster"
SECRET_SIGNATURE = "4dabf18193072939515e22adb298388d"

OFFERED = {
    "us-east-1a": {"g4dn", "g6", "g6e", "p5"},
    "us-east-1b": {"g4dn", "g6", "g6e", "p5"},
    "us-east-1c": {"g4dn", "g6", "g6e"},
    "us-east-1d": {"g4dn", "g6"},
}
"""A small region: zone to the instance families it offers."""


@dataclass(frozen=True)
class Registration:
    """One resource as the program asked for it."""

    urn: str
    type: str
    name: str
    parent: str
    inputs: Mapping[str, Any]
    custom: bool
    protect: bool
    retain_on_delete: bool
    delete_before_replace: bool
    ignore_changes: tuple[str, ...]
    timeouts: Mapping[str, str]
    """Operation to the time it may take, for those that have another than the provider's."""
    dependencies: tuple[str, ...]
    property_dependencies: Mapping[str, tuple[str, ...]]
    """Input to the URNs of the resources whose outputs are in it."""

    provider: str
    outputs: dict[str, Any] = field(default_factory=dict)
    """What a component passed to ``register_outputs``; empty for a custom resource."""

    @property
    def kind(self) -> str:
        """The type's last word, ``Instance``."""
        return self.type.rsplit(":", 1)[-1]


class Recorder(mocks.MockMonitor):
    """A mock engine that remembers whole requests."""

    def __init__(self, behaviour: mocks.Mocks) -> None:
        super().__init__(behaviour)
        self.registrations: dict[str, Registration] = {}
        self.outputs_registered: set[str] = set()
        self.invokes: list[str] = []
        self.exports: set[str] = set()

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 the name is the protocol's
        answer = super().RegisterResource(request)
        if request.type != "pulumi:pulumi:Stack":
            if answer.urn in self.registrations:
                raise AssertionError(f"registered twice: {answer.urn}")
            self.registrations[answer.urn] = Registration(
                urn=answer.urn,
                type=request.type,
                name=request.name,
                parent=request.parent,
                inputs=rpc.deserialize_properties(request.object, keep_unknowns=True),
                custom=request.custom,
                protect=request.protect,
                retain_on_delete=request.retainOnDelete,
                delete_before_replace=request.deleteBeforeReplace,
                ignore_changes=tuple(request.ignoreChanges),
                timeouts={
                    field.name: value for field, value in request.customTimeouts.ListFields()
                },
                dependencies=tuple(sorted(request.dependencies)),
                property_dependencies={
                    name: tuple(each.urns) for name, each in request.propertyDependencies.items()
                },
                provider=request.provider,
            )
        return answer

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 the name is the protocol's
        self.outputs_registered.add(request.urn)
        outputs = rpc.deserialize_properties(request.outputs, keep_unknowns=True)
        if request.urn in self.registrations:
            self.registrations[request.urn].outputs.update(outputs)
        return super().RegisterResourceOutputs(request)

    def Invoke(self, request: Any) -> Any:  # noqa: N802 the name is the protocol's
        self.invokes.append(request.tok)
        return super().Invoke(request)

    def __getitem__(self, key: tuple[str, str]) -> Registration:
        """The registration of a type's last word and a name: ``recorder["Instance", "graphistry-test-leader"]``."""
        kind, name = key
        found = [each for each in self if each.type.endswith(f":{kind}") and each.name == name]
        assert len(found) == 1, f"{key}: found {[each.urn for each in found]}"
        return found[0]

    def __iter__(self) -> Iterator[Registration]:
        return iter(self.registrations.values())

    def of(self, kind: str) -> list[Registration]:
        """Every registration of a type's last word."""
        return [each for each in self if each.type.endswith(f":{kind}")]


LEADER_OUTPUTS: dict[str, Any] = {
    "postgres": {"host": "leader.graphistry-prod.internal", "port": 5432},
    "redis": {"host": "leader.graphistry-prod.internal", "port": 6379},
    "join": {
        "version": 2,
        "site": "aws",
        "cluster": "graphistry-cluster/prod",
        "region": "us-east-1",
        "rolePath": "/graphistry-cluster/prod/",
        "subnetIds": {f"us-east-1{letter}": f"subnet-{letter}" for letter in "abcd"},
        "followersSecurityGroup": "sg-followers",
        "sharedFolder": {
            "fileSystemId": "fs-0123456789abcdef0",
            "arn": "arn:aws:elasticfilesystem:us-east-1:123456789012:file-system/fs-0123456789abcdef0",
            "mountTargets": {"us-east-1a": "10.40.0.20", "us-east-1b": "10.40.1.20"},
        },
        "secretArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:prod",
        "bucket": "graphistry-prod-documents",
        "release": {"version": "2.50.1", "cuda": "12", "source": "preinstalled", "sha256": None},
        "leader": {"instanceId": "i-0123456789abcdef0", "address": "10.40.0.10"},
        "postgres": {"host": "leader.graphistry-prod.internal", "port": 5432},
        "redis": {"host": "leader.graphistry-prod.internal", "port": 6379},
    },
}
"""What the stack of a leader says to a stack of followers."""


ARNS = {
    "autoscaling/group:Group": "autoscaling:us-east-1:123456789012:autoScalingGroup:1:autoScalingGroupName/{name}",
    "cloudwatch/eventRule:EventRule": "events:us-east-1:123456789012:rule/{name}",
    "cloudwatch/logGroup:LogGroup": "logs:us-east-1:123456789012:log-group:{name}",
    "ebs/volume:Volume": "ec2:us-east-1:123456789012:volume/{name}",
    "efs/fileSystem:FileSystem": "elasticfilesystem:us-east-1:123456789012:file-system/{name}",
    "iam/instanceProfile:InstanceProfile": "iam::123456789012:instance-profile{path}{name}",
    "iam/role:Role": "iam::123456789012:role{path}{name}",
    "s3/bucket:Bucket": "s3:::{name}",
    "secretsmanager/secret:Secret": "secretsmanager:us-east-1:123456789012:secret:{name}-AbCdEf",
    "ssm/document:Document": "ssm:us-east-1:123456789012:document/{name}",
}
"""What follows ``arn:aws:`` for the kinds whose ARNs are in policies (Service Authorization Reference), as judges of
policies look at the form. Names stand for the ids that AWS makes up."""


def arn(kind: str, name: str, inputs: Mapping[str, Any]) -> str:
    """The ARN that the mocks answer for a resource."""
    form = ARNS.get(kind.removeprefix("aws:"), "mock:::{name}")
    return "arn:aws:" + form.format(name=name, path=inputs.get("path", "/"))


class AwsMocks(mocks.Mocks):
    """The least that AWS must answer for the program to run; ids are made of names."""

    def __init__(self, *, preview: bool) -> None:
        self.preview = preview

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        if args.typ == "pulumi:pulumi:StackReference":
            return args.name, {"name": args.inputs["name"], "outputs": LEADER_OUTPUTS}
        made = {
            **args.inputs,
            "arn": arn(args.typ, args.name, args.inputs),
            "privateIp": "10.40.0.10",
            "ipAddress": "10.40.0.20",
            "versionId": f"version-of-{args.name}",
            "stdout": f"printed-by-{args.name}",
            "fqdn": args.inputs.get("name", args.name),
            "zoneId": f"Z{args.name}",
            "allocationId": f"eipalloc-{args.name}",
        }
        made.setdefault("name", f"{args.name}-1234567")
        if self.preview and args.custom:
            return None, dict(args.inputs)
        return f"{args.name}-id", made

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        answer = ANSWERS[args.token](args.args)
        failures = [("", answer["failure"])] if "failure" in answer else []
        return answer, failures


def _offerings(args: Mapping[str, Any]) -> dict[str, Any]:
    wanted = next(each["values"] for each in args["filters"] if each["name"] == "instance-type")
    pairs = [
        (kind, zone)
        for zone, families in OFFERED.items()
        for kind in wanted
        if kind.split(".")[0] in families
    ]
    return {
        "id": "offerings",
        "instanceTypes": [kind for kind, _ in pairs],
        "locations": [zone for _, zone in pairs],
        "locationTypes": ["availability-zone"] * len(pairs),
    }


RECORDED: list[dict[str, Any]] = [
    {
        "type": "pulumi:providers:aws",
        "outputs": {
            "region": "us-east-1",
            "allowedAccountIds": '["123456789012"]',
            "defaultTags": '{"tags": {"graphistry-cluster:id": "0123456789ab"}}',
        },
    }
]
"""The resources in the state of the stack whose program runs."""


ANSWERS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "pulumi:pulumi:readStackResourceOutputs": lambda _: {
        "outputs": {f"urn:{number}": each for number, each in enumerate(RECORDED)}
    },
    "pulumi:pulumi:readStackOutputs": lambda _: {"outputs": LEADER_OUTPUTS},
    "aws:index/getCallerIdentity:getCallerIdentity": lambda _: {
        "accountId": "123456789012",
        "arn": "arn:aws:iam::123456789012:user/test",
        "id": "123456789012",
        "userId": "test",
    },
    "aws:index/getPartition:getPartition": lambda _: {"id": "aws", "partition": "aws"},
    "aws:index/getAvailabilityZones:getAvailabilityZones": lambda _: {
        "id": "us-east-1",
        "names": list(OFFERED),
        "zoneIds": [],
    },
    "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings": _offerings,
    "aws:ssm/getParameter:getParameter": lambda args: {
        "id": args["name"],
        "name": args["name"],
        "arn": "arn",
        "type": "String",
        "value": "ami-0123456789abcdef0",
        "insecureValue": "ami-0123456789abcdef0",
        "version": 2,
    },
    "aws:ec2/getAmi:getAmi": lambda args: {
        "id": args["filters"][0]["values"][0],
        "rootDeviceName": "/dev/xvda",
    },
    "aws:ec2/getInstances:getInstances": lambda args: {
        "id": "us-east-1",
        "ids": args["filters"][0]["values"],
    },
    "aws:ec2/getVpc:getVpc": lambda args: {"id": args["id"], "cidrBlock": "10.9.0.0/16"},
    "aws:ec2/getSubnet:getSubnet": lambda args: {
        "id": args["id"],
        "vpcId": "vpc-0123456789abcdef0",
        "availabilityZone": f"us-east-1{args['id'][-1]}",
    },
    "aws:efs/getFileSystem:getFileSystem": lambda args: {
        "fileSystemId": args["fileSystemId"],
        "arn": f"arn:aws:elasticfilesystem:us-east-1:123456789012:file-system/{args['fileSystemId']}",
        "id": args["fileSystemId"],
    },
}


def deploy(
    program: Callable[[], object], *, stack: str = "test", preview: bool = False
) -> Recorder:
    """Run *program* to its end against a fresh mock engine and return everything it registered."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    behaviour = AwsMocks(preview=preview)
    recorder = Recorder(behaviour)
    mocks.set_mocks(behaviour, project=PROJECT, stack=stack, preview=preview, monitor=recorder)
    # Each resource carries where in the program it was made, which costs a quarter of a run and goes nowhere here.
    nowhere = mock.patch("pulumi.runtime.resource._get_stack_trace", StackTrace)
    nowhere.start()
    try:
        pulumi.runtime.test(lambda: (program(), None)[1])()
        root: Any = pulumi.runtime.get_root_resource()
        recorder.exports = set(root.outputs)
        return recorder
    finally:
        nowhere.stop()
        pulumi.runtime.reset_options()
        loop.close()
        asyncio.set_event_loop(None)


def stack_config(stack: str) -> dict[str, Any]:
    """The configuration of one stack file with the defaults of ``Pulumi.yaml``, as the engine would hand it over."""
    project = _read(ROOT / "Pulumi.yaml")
    chosen = _read(ROOT / "stacks" / f"Pulumi.{stack}.yaml")
    defaults = {
        key: schema["default"] for key, schema in project["config"].items() if "default" in schema
    }
    for _, host in named_hosts(chosen["config"]):
        host.setdefault("hostKey", ANY_HOST_KEY)  # as after `./cluster host-keys`
    return {**defaults, **chosen["config"]}


def _read(file: Path) -> Any:
    """A file's YAML, for whoever asks to change."""
    return copy.deepcopy(_parsed(file))


@functools.cache
def _parsed(file: Path) -> Any:
    return yaml.safe_load(file.read_text())


def run_program() -> None:
    """Run ``__main__.py`` as Pulumi would; what it does to signals ends with it."""
    before = signal.getsignal(signal.SIGINT)
    try:
        runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__")
    finally:
        signal.signal(signal.SIGINT, before)
