"""What moto's memory says about machines, read in one instant and then independent of it."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from moto.autoscaling import autoscaling_backends
from moto.ec2 import ec2_backends
from moto.efs import efs_backends
from moto.iam import iam_backends
from moto.route53 import route53_backends

from ..account import ACCOUNT
from ..provider.images import release_of
from ..provider.moto_gaps import MEMORY
from ..release.build import Release
from .firewall import Allowed

TEMPLATE_ID, TEMPLATE_VERSION = "aws:ec2launchtemplate:id", "aws:ec2launchtemplate:version"


@dataclass(frozen=True)
class Volume:
    """An EBS volume that is attached to a machine."""

    identifier: str
    size_gib: int


@dataclass(frozen=True)
class Machine:
    """An EC2 instance that is not terminated."""

    identifier: str
    region: str
    zone: str
    instance_type: str
    image: str
    release: Release | None
    """What its image comes with."""
    address: str
    mac: str
    vpc: str
    groups: tuple[str, ...]
    role: str | None
    """The role of its instance profile."""
    hop_limit: int
    """How many hops a token of the metadata service travels."""
    user_data: bytes
    tags: Mapping[str, str]
    running: bool
    """False: stopped, its container too."""
    scaling_group: str | None
    healthy: bool
    """False: somebody told its Auto Scaling group so (SetInstanceHealth)."""
    volumes: tuple[Volume, ...]
    """Attached volumes without the root volume, which is the container's own file system."""

    @property
    def name(self) -> str:
        """The Name tag, or the id."""
        return self.tags.get("Name", self.identifier)


@dataclass(frozen=True)
class FileServer:
    """A mount target of an EFS file system."""

    identifier: str
    file_system: str
    region: str
    zone: str
    address: str
    vpc: str
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Inventory:
    """Everything that the machines depend on."""

    machines: Mapping[str, Machine]
    file_servers: Mapping[str, FileServer]
    blocks: Mapping[str, str]
    """The IPv4 block of each VPC."""
    volumes: frozenset[str]
    """Ids of the volumes that exist, attached or not."""
    file_systems: frozenset[str]
    ingress: Mapping[str, tuple[Allowed, ...]]
    """What each security group lets in; references are resolved to the members' addresses."""
    egress: Mapping[str, tuple[Allowed, ...]]
    records: Mapping[str, tuple[str, ...]]
    """Name without the final dot -> IPv4 addresses, of the private zones."""


def read() -> Inventory:
    """The present state of moto's memory."""
    with MEMORY:
        return _read()


def _read() -> Inventory:
    regions: dict[str, Any] = dict(ec2_backends[ACCOUNT].items())
    machines = {
        machine.identifier: machine
        for region, backend in regions.items()
        for machine in _machines(region, backend)
    }
    servers = {
        server.identifier: server
        for region, backend in list(efs_backends[ACCOUNT].items())
        for server in _file_servers(region, backend)
    }
    members: dict[str, list[str]] = {}
    everybody: list[Machine | FileServer] = [*machines.values(), *servers.values()]
    for member in everybody:
        for group in member.groups:
            members.setdefault(group, []).append(f"{member.address}/32")
    groups = [
        group
        for backend in regions.values()
        for of_vpc in backend.groups.values()
        for group in of_vpc.values()
    ]
    return Inventory(
        machines=machines,
        file_servers=servers,
        blocks={vpc.id: vpc.cidr_block for each in regions.values() for vpc in each.vpcs.values()},
        volumes=frozenset(volume for backend in regions.values() for volume in backend.volumes),
        file_systems=frozenset(
            identifier
            for _, backend in list(efs_backends[ACCOUNT].items())
            for identifier in backend.file_systems_by_id
        ),
        ingress={group.id: _allowed(group.ingress_rules, members) for group in groups},
        egress={group.id: _allowed(group.egress_rules, members) for group in groups},
        records=_records(),
    )


def _machines(region: str, backend: Any) -> Iterator[Machine]:
    health = {
        state.instance.id: (group.name, state.health_status == "Healthy")
        for group in autoscaling_backends[ACCOUNT][region].autoscaling_groups.values()
        for state in group.instance_states
    }
    volumes: dict[str, list[Volume]] = {}
    for volume in backend.volumes.values():
        if volume.attachment and volume.attachment.device != (
            volume.attachment.instance.root_device_name
        ):
            attached = Volume(volume.id, int(volume.size))
            volumes.setdefault(volume.attachment.instance.id, []).append(attached)
    for reservation in backend.reservations.values():
        for instance in reservation.instances:
            if instance.state not in ("running", "stopped", "pending", "stopping"):
                continue
            interface = instance.nics.get(0)
            if interface is None or not interface.private_ip_address:
                continue
            tags = {tag["key"]: tag["value"] for tag in instance.get_tags()}
            group, healthy = health.get(instance.id, (None, True))
            template = _template(backend, tags)
            yield Machine(
                identifier=instance.id,
                region=region,
                zone=instance.placement.zone,
                instance_type=instance.instance_type,
                image=instance.image_id,
                release=release_of(backend, instance.image_id),
                address=interface.private_ip_address,
                mac=interface.mac_address,
                vpc=interface.subnet.vpc_id,
                groups=_groups(template, interface),
                role=_role(backend, instance, template),
                hop_limit=_hop_limit(instance, template),
                user_data=base64.b64decode(str(instance.user_data or "")),
                tags=tags,
                running=instance.state in ("running", "pending"),
                scaling_group=group,
                healthy=healthy,
                volumes=tuple(volumes.get(instance.id, ())),
            )


def _template(backend: Any, tags: Mapping[str, str]) -> Mapping[str, Any]:
    """The launch template's version that an instance was launched from, if it was."""
    template = backend.launch_templates.get(tags.get(TEMPLATE_ID))
    if template is None:
        return {}
    number = tags.get(TEMPLATE_VERSION)
    found = (each.data for each in template.versions if str(each.number) == number)
    return dict(next(found, {}))


def _groups(template: Mapping[str, Any], interface: Any) -> tuple[str, ...]:
    """moto gives what a group launches the VPC's default group, whatever its template says."""
    for asked in template.get("NetworkInterfaces") or ():
        if asked.get("Groups"):
            return tuple(sorted(asked["Groups"]))
    return tuple(sorted({group.id for group in interface.group_set}))


def _role(backend: Any, instance: Any, template: Mapping[str, Any]) -> str | None:
    """moto gives what a group launches no profile, whatever its template says."""
    association = backend.iam_instance_profile_associations.get(instance.id)
    if association is not None:
        asked = {"Arn": association.iam_instance_profile.arn}
    else:
        asked = instance.iam_instance_profile or template.get("IamInstanceProfile") or {}
    for profile in iam_backends[ACCOUNT]["aws"].instance_profiles.values():
        if profile.arn == asked.get("Arn") or profile.name == asked.get("Name"):
            return next((str(role.name) for role in profile.roles), None)
    return None


def _hop_limit(instance: Any, template: Mapping[str, Any]) -> int:
    """moto gives what a group launches AWS's default options, whatever its template says."""
    asked = template.get("MetadataOptions") or {}
    return int(
        asked.get("HttpPutResponseHopLimit")
        or instance.metadata_options.http_put_response_hop_limit
    )


def _file_servers(region: str, backend: Any) -> Iterator[FileServer]:
    for target in backend.mount_targets_by_id.values():
        yield FileServer(
            identifier=target.mount_target_id,
            file_system=target.file_system_id,
            region=region,
            zone=target.availability_zone_name,
            address=target.ip_address,
            vpc=target.vpc_id,
            groups=tuple(sorted(target.security_groups or ())),
        )


def _allowed(rules: list[Any], members: Mapping[str, list[str]]) -> tuple[Allowed, ...]:
    return tuple(
        Allowed(
            protocol=str(rule.ip_protocol),
            first=-1 if rule.from_port is None else int(rule.from_port),
            last=-1 if rule.to_port is None else int(rule.to_port),
            peers=tuple(
                sorted(
                    [
                        *filter(None, [rule.ip_range.get("CidrIp")]),
                        *members.get(rule.source_group.get("GroupId", ""), ()),
                    ]
                )
            ),
        )
        for rule in rules
    )


def _records() -> dict[str, tuple[str, ...]]:
    zones = route53_backends[ACCOUNT]["aws"].zones.values()
    return {
        record.name.rstrip(".").lower(): tuple(
            str(each["Value"]) if isinstance(each, dict) else str(each) for each in record.records
        )
        for zone in zones
        if zone.private_zone
        for record in zone.rrsets
        if record.type == "A" and record.records
    }
