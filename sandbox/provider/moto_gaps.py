"""What moto does not do and the stand-in therefore does itself, in one reviewed place.

Everything here reaches into moto's own memory, so that the answer of the AWS API agrees with it and
drift stays visible; it works because the stand-in runs in moto's process. `REMEMBERED` is the rest:
what moto cannot even hold, and is therefore read back as it was asked for.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec

from moto import backends
from moto.autoscaling import autoscaling_backends
from moto.autoscaling.models import FakeAutoScalingGroup
from moto.core.types import Base64EncodedString
from moto.ec2 import ec2_backends
from moto.ec2.models.elastic_network_interfaces import NetworkInterfaceBackend
from moto.ec2.models.launch_templates import LaunchTemplate
from moto.efs import efs_backends
from moto.iam.access_control import PermissionResult
from moto.s3.models import FakeBucket
from moto.secretsmanager.models import SecretsManagerBackend

from ..account import ACCOUNT
from . import images
from .aws import Aws
from .values import Properties

REMEMBERED: Mapping[str, Mapping[str, str]] = {
    "aws:ec2/instance:Instance": {
        "maintenanceOptions": "moto has no ModifyInstanceMaintenanceOptions and keeps none",
        "capacityReservationSpecification": "moto has no capacity reservations",
    },
    "aws:autoscaling/group:Group": {
        "defaultInstanceWarmup": "moto ignores DefaultInstanceWarmup",
        "capacityReservationSpecification": "moto has no capacity reservations",
    },
}
"""Inputs that moto does not keep, by type, and why: drift in them cannot be seen."""

MEMORY = threading.Lock()
"""Held by whoever uses moto's memory, which is made for one request at a time."""

Parameters = ParamSpec("Parameters")


def _alone(change: Callable[Parameters, None]) -> Callable[Parameters, None]:
    @functools.wraps(change)
    def alone(*arguments: Parameters.args, **named: Parameters.kwargs) -> None:
        with MEMORY:
            change(*arguments, **named)

    return alone


@_alone
def prepare_region(aws: Aws) -> None:
    """Register the stand-in images in a region and publish their ids, once."""
    images.publish(aws.region)


def mend_moto() -> None:
    """Replace six answers of moto's; call it once, before it serves.

    Bucket policies are kept and not judged, as moto does with all of IAM: it takes a condition that
    it cannot evaluate for a denial, so one that demands TLS would close the bucket to everybody.
    Groups launch the first type of their policy, where moto knows the launch template's only,
    and give each instance one root volume, where moto makes a second, which nothing names.
    A secret's value is that of its version AWSCURRENT, where moto stays with the last one put.
    An interface gets a free address of its subnet, where moto rolls dice, for one that others have too.
    The list of moto's modules is read once, where moto reads its folder at every request.
    """
    modules = tuple(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: modules
    FakeBucket.get_permission = lambda *_: PermissionResult.NEUTRAL
    of_template = FakeAutoScalingGroup.instance_type.fget
    FakeAutoScalingGroup.instance_type = property(
        lambda group: _first_type(group) or of_template(group)
    )
    launch = FakeAutoScalingGroup.replace_autoscaling_group_instances

    def launch_without_shadows(group: Any, count: int, tags: dict[str, str]) -> None:
        launch(group, count, tags)
        _discard_shadow_volumes(group.autoscaling_backend.ec2_backend)

    FakeAutoScalingGroup.replace_autoscaling_group_instances = launch_without_shadows
    # moto shows the tags that a template had when it was made.
    LaunchTemplate.tags = property(lambda template: template.get_tags(), lambda *_: None)
    create = NetworkInterfaceBackend.create_network_interface

    @functools.wraps(create)
    def created(
        backend: Any, subnet: Any, address: Any, addresses: Any = None, *others: Any, **named: Any
    ) -> Any:
        if not (address or addresses):
            address = subnet.get_available_subnet_ip(instance=None)
        return create(backend, subnet, address, addresses, *others, **named)

    NetworkInterfaceBackend.create_network_interface = created
    move_stage = SecretsManagerBackend.update_secret_version_stage

    @functools.wraps(move_stage)
    def moved(
        backend: Any, secret_id: str, version_stage: str, *versions: str, **named: str
    ) -> Any:
        done = move_stage(backend, secret_id, version_stage, *versions, **named)
        secret = backend.secrets[secret_id]
        secret.set_default_version_id(_current_version(secret))
        return done

    SecretsManagerBackend.update_secret_version_stage = moved


def _current_version(secret: Any) -> str | None:
    versions: Mapping[str, Any] = secret.versions
    stages = {name: version["version_stages"] for name, version in versions.items()}
    return next((name for name in stages if "AWSCURRENT" in stages[name]), None)


def _first_type(group: Any) -> str | None:
    policy = group.mixed_instances_policy or {}
    overrides = policy.get("LaunchTemplate", {}).get("Overrides") or [{}]
    first: str | None = overrides[0].get("InstanceType")
    return first


@_alone
def update_file_system(aws: Aws, identifier: str, mode: str, throughput: float | None) -> None:
    """EFS UpdateFileSystem."""
    file_system = _file_system(aws, identifier)
    file_system.throughput_mode = mode
    file_system.provisioned_throughput_in_mibps = throughput


@_alone
def put_backup_policy(aws: Aws, identifier: str, status: str) -> None:
    """EFS PutBackupPolicy; `status` is ENABLED or DISABLED."""
    _file_system(aws, identifier)._backup = status == "ENABLED"


@_alone
def delete_file_system_policy(aws: Aws, identifier: str) -> None:
    """EFS DeleteFileSystemPolicy."""
    _file_system(aws, identifier).file_system_policy = None


@_alone
def release_interfaces(aws: Aws, interfaces: list[str]) -> None:
    """Make interfaces that outlive their terminated instance available again, as AWS does."""
    backend = ec2_backends[ACCOUNT][aws.region]
    for identifier in interfaces:
        interface = backend.enis.get(identifier)
        if interface is not None:
            interface.status = "available"
            interface.instance = None
            interface.attachment_id = None


@_alone
def set_monitoring(aws: Aws, identifier: str, enabled: bool) -> None:
    """EC2 MonitorInstances and UnmonitorInstances."""
    instance = ec2_backends[ACCOUNT][aws.region].get_instance(identifier)
    instance.monitoring_state = "enabled" if enabled else "disabled"


@_alone
def keep_user_data(aws: Aws, template: str) -> None:
    """Let groups launch from any version of a template: moto decodes the first version's user data only."""
    for version in ec2_backends[ACCOUNT][aws.region].launch_templates[template].versions:
        if isinstance(version.data.get("UserData"), str):
            version.data["UserData"] = Base64EncodedString(version.data["UserData"])


@_alone
def keep_group_settings(aws: Aws, name: str, inputs: Properties) -> None:
    """The settings that moto's UpdateAutoScalingGroup ignores."""
    group = autoscaling_backends[ACCOUNT][aws.region].autoscaling_groups[name]
    group.capacity_rebalance = inputs.get("capacityRebalance", False)
    group.termination_policies = inputs.get("terminationPolicies") or ["Default"]


def belongings(aws: Aws, instances: list[str]) -> tuple[list[str], list[str]]:
    """The volumes and the interfaces that were made for instances and should end with them."""
    mine = [{"Name": "attachment.instance-id", "Values": instances}]
    volumes = aws.call("ec2.describe_volumes", Filters=mine)["Volumes"] if instances else []
    answer = aws.call("ec2.describe_network_interfaces", Filters=mine) if instances else {}
    interfaces = answer.get("NetworkInterfaces", [])
    return (
        [volume["VolumeId"] for volume in volumes],
        [interface["NetworkInterfaceId"] for interface in interfaces],
    )


@_alone
def discard(aws: Aws, volumes: list[str], interfaces: list[str]) -> None:
    """Remove what moto leaves behind of terminated instances."""
    backend = ec2_backends[ACCOUNT][aws.region]
    for volume in volumes:
        backend.volumes.pop(volume, None)
    for interface in interfaces:
        backend.enis.pop(interface, None)


def _discard_shadow_volumes(backend: Any) -> None:
    for volume in list(backend.volumes.values()):
        if volume.attachment:
            mapping = volume.attachment.instance.get_block_device_mapping
            if volume.id not in [device.volume_id for _, device in mapping]:
                backend.volumes.pop(volume.id)


@_alone
def own_interfaces(aws: Aws, instance: str) -> None:
    """Let the interfaces made for an instance end with it, which is AWS's default."""
    for interface in ec2_backends[ACCOUNT][aws.region].get_instance(instance).nics.values():
        interface.delete_on_termination = True


def _file_system(aws: Aws, identifier: str) -> Any:
    backend = efs_backends[ACCOUNT][aws.region]
    backend.describe_file_systems(file_system_id=identifier)  # raises where it does not exist
    return backend.file_systems_by_id[identifier]
