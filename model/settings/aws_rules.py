"""The rules that span several settings of a stack file.

Each rule yields a finding per violation and names every setting it looked at, so that a violation
which merely follows from another mistake can be left out. The settings may contain stand-ins for
wrong values; a rule therefore never assumes that another one holds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

from model.gpu_catalogue import CATALOGUE
from model.problems import Finding, Problem, did_you_mean, path_of, shown, shown_choices
from model.settings.access_rules import clients_get_answers
from model.settings.configuration import SECRET_ENV
from model.settings.named_zones import zones_of_nodes

if TYPE_CHECKING:
    from pydantic import BaseModel

    from model.settings.aws import (
        Follower,
        FollowersOnAws,
        GpuProfile,
        JoinedSettings,
        Leader,
        Settings,
    )
    from model.settings.hosts import FollowersOnHosts, HostNode
    from model.settings.sections import Release

_TURING = (7, 5)
# RAPIDS builds for CUDA 13 start at Turing; NVIDIA's open kernel driver does too.
_OPEN_DRIVER_IMAGE = "oss-nvidia-driver"

# What gp3 grants: IOPS above the included 3,000 per GiB of size, and MiB/s per IOPS.
_INCLUDED_IOPS = 3000
_IOPS_PER_GIB = 500
_IOPS_PER_MIBPS = 4


def broken_rules(settings: Settings) -> tuple[Finding, ...]:
    """Every violation, in the order of the stack file's sections."""
    return tuple(
        chain(
            _gpu_counts_of_profiles(settings),
            profiles_exist(settings.gpu_profiles, _nodes(settings)),
            _gpu_counts_of_followers(settings),
            _gpus_old_for_release(settings),
            _zones(settings),
            _reservations(settings),
            _leaders_reservation(settings.leader),
            _data_volume(settings),
            _shared_folder(settings),
            _existing_network(settings),
            clients_get_answers(settings),
            _release(settings),
            variables_once(settings),
            _image(settings),
        )
    )


def broken_joined_rules(settings: JoinedSettings) -> tuple[Finding, ...]:
    """The same for followers of another stack's leader; what depends on that is checked with its outputs."""
    return tuple(
        chain(
            _gpu_counts_of_profiles(settings),
            profiles_exist(settings.gpu_profiles, _nodes(settings)),
            _gpu_counts_of_followers(settings),
            _one_region(list(zones_of_nodes(settings))),
            _reservations(settings),
            variables_once(settings),
            _image(settings),
        )
    )


def variables_once(settings: FollowersOnAws | FollowersOnHosts) -> Iterator[Finding]:
    """No variable is a secret in one place of the stack file and to be read in another."""
    nodes = {f"followers.{name}.": each for name, each in settings.followers.items()}
    leader = getattr(settings, "leader", None)
    sections = {"": settings, **({"leader.": leader} if leader else {}), **nodes}
    for place, section in sections.items():
        for name in section.configuration.env:
            if name in settings.secret_env:
                path, secret = f"{place}configuration.env.{name}", f"{SECRET_ENV}.{name}"
                problem = Problem(path, f"a variable that {secret} has too", "one of the two")
                yield Finding(problem, (path, secret))


def _leader(settings: FollowersOnAws) -> Leader | None:
    """The leader, where it is not another stack's."""
    found: Leader | None = getattr(settings, "leader", None)
    return found


def _nodes(settings: FollowersOnAws) -> Iterator[tuple[str, Leader | Follower]]:
    leader = _leader(settings)
    if leader is not None:
        yield "leader", leader
    for name, follower in settings.followers.items():
        yield f"followers.{name}", follower


def _gpus(count: int) -> str:
    return f"{count} GPU" if count == 1 else f"{count} GPUs"


def _counted(types: tuple[str, ...]) -> str:
    return ", ".join(f"{name} has {_gpus(CATALOGUE[name].gpus)}" for name in types)


def _fewest_gpus(profile: GpuProfile) -> int:
    return min(CATALOGUE[name].gpus for name in profile.instance_types)


def _gpu_counts_of_profiles(settings: FollowersOnAws) -> Iterator[Finding]:
    for name, profile in settings.gpu_profiles.items():
        types, gpus = f"gpuProfiles.{name}.instanceTypes", f"gpuProfiles.{name}.gpus"
        counts = {CATALOGUE[each].gpus for each in profile.instance_types}
        if profile.gpus is None and len(counts) > 1:
            yield Finding(
                Problem(
                    types,
                    _counted(profile.instance_types),
                    "types with the same number of GPUs, as every GPU is used unless gpus is set",
                    f"set {gpus} to at most {min(counts)}, or make a profile for each number",
                ),
                (types, gpus),
            )
        elif profile.gpus is not None and profile.gpus > min(counts):
            yield Finding(_too_many_gpus(gpus, profile.gpus, profile), (types, gpus))


def _too_many_gpus(path: str, asked: int, profile: GpuProfile) -> Problem:
    return Problem(
        path,
        str(asked),
        f"at most {_fewest_gpus(profile)}, as every instance type of the profile must have them",
        _counted(profile.instance_types),
    )


def profiles_exist(
    profiles: Collection[str], placed: Iterable[tuple[str, Leader | Follower | HostNode]]
) -> Iterator[Finding]:
    """Every node, given with its place in the stack file, names one of the *profiles*."""
    for place, node in placed:
        if node.profile not in profiles:
            path = f"{place}.profile"
            allowed = shown_choices(profiles) if profiles else "a profile, but gpuProfiles is empty"
            hint = did_you_mean(node.profile, profiles, likeness=0.5)
            problem = Problem(path, shown(node.profile), allowed, hint)
            yield Finding(problem, (path, path_of(("gpuProfiles", node.profile))))


def _gpu_counts_of_followers(settings: FollowersOnAws) -> Iterator[Finding]:
    for name, follower in settings.followers.items():
        profile = settings.gpu_profiles.get(follower.profile)
        if profile and follower.gpus is not None and follower.gpus > _fewest_gpus(profile):
            path = f"followers.{name}.gpus"
            yield Finding(
                _too_many_gpus(path, follower.gpus, profile),
                (
                    path,
                    f"followers.{name}.profile",
                    f"gpuProfiles.{follower.profile}.instanceTypes",
                ),
            )


def _gpus_old_for_release(settings: Settings) -> Iterator[Finding]:
    used = dict.fromkeys(node.profile for _, node in _nodes(settings))
    for name in used:
        profile = settings.gpu_profiles.get(name)
        for index, each in enumerate(profile.instance_types if profile else ()):
            if CATALOGUE[each].compute_capability < _TURING:
                yield from _old_gpu(settings, f"gpuProfiles.{name}.instanceTypes[{index}]", each)


def _old_gpu(settings: Settings, path: str, name: str) -> Iterator[Finding]:
    gpu = CATALOGUE[name].gpu_name
    got = f"{shown(name)}, whose {gpu} is older than Turing"
    if settings.release.cuda == "13":
        yield Finding(
            Problem(
                path,
                got,
                'a type with a Turing or newer GPU, as release.cuda is "13"',
                'set release.cuda to "12", which still supports it',
            ),
            (path, "release.cuda"),
        )
    image = settings.image
    looked_up = image.id is None and not image.marketplace
    if looked_up and _OPEN_DRIVER_IMAGE in image.ssm_parameter:
        yield Finding(
            Problem(
                path,
                got,
                "a type with a Turing or newer GPU, as the image has NVIDIA's open driver",
                "name an image with NVIDIA's proprietary driver in image.id or image.ssmParameter",
            ),
            (path, "image"),
        )


def _zones(settings: Settings) -> Iterator[Finding]:
    path, zones = "network.availabilityZones", settings.network.availability_zones
    own = [(f"{path}[{index}]", zone) for index, zone in enumerate(zones)]
    asked = list(zones_of_nodes(settings))
    if zones:
        yield from _one_region(own)
        for place, zone in asked:
            if zone not in zones:
                problem = Problem(
                    place,
                    shown(zone),
                    f"a zone of the network: {shown_choices(zones)}",
                    f"or add it to {path}",
                )
                yield Finding(problem, (place, path))
    else:
        yield from _one_region(asked)


def _one_region(named: list[tuple[str, str]]) -> Iterator[Finding]:
    for place, zone in named:
        first_place, first_zone = named[0]
        if zone[:-1] != first_zone[:-1]:
            problem = Problem(
                place, shown(zone), f"a zone of {first_zone[:-1]}, as {first_place} is in it"
            )
            yield Finding(problem, (place, first_place))


def _reservations(settings: FollowersOnAws) -> Iterator[Finding]:
    """A reservation is of one instance type, in one zone, and never for spot."""
    for name, follower in settings.followers.items():
        market, path = f"followers.{name}.market", f"followers.{name}.capacityReservation"
        profile = settings.gpu_profiles.get(follower.profile)
        reads = (path, market)
        if follower.capacity_reservation is None:
            if follower.market == "capacity-block":
                hint = "`aws ec2 describe-capacity-reservations` lists the blocks that were bought"
                problem = Problem(
                    path, "nothing", "the id of a capacity block, as market is one", hint
                )
                yield Finding(problem, reads)
            continue
        if follower.market == "spot":
            hint = "leave one of the two out"
            problem = Problem(market, shown("spot"), "on-demand or capacity-block", hint)
            yield Finding(problem, reads)
        if profile and len(profile.instance_types) > 1:
            types = f"gpuProfiles.{follower.profile}.instanceTypes"
            hint = f"make a profile for {name} with the type that was reserved"
            got = f"a reservation, and {len(profile.instance_types)} instance types in {types}"
            yield Finding(Problem(path, got, "a profile of one instance type", hint), (path, types))


def _leaders_reservation(leader: Leader) -> Iterator[Finding]:
    if leader.capacity_reservation is not None and "reserveCapacity" in _given(leader):
        yield from _not_together(
            "leader",
            ["reserveCapacity"],
            "capacityReservation",
            "an existing reservation holds its place",
        )


def _data_volume(settings: Settings) -> Iterator[Finding]:
    volume, path = settings.leader.data_volume, "leader.dataVolume"
    most_iops = max(_INCLUDED_IOPS, volume.size_gib * _IOPS_PER_GIB)
    if volume.iops > most_iops:
        yield Finding(
            Problem(
                f"{path}.iops",
                str(volume.iops),
                f"at most {most_iops} for {volume.size_gib} GiB, {_IOPS_PER_GIB} per GiB",
            ),
            (f"{path}.iops", f"{path}.sizeGib"),
        )
    most_throughput = volume.iops // _IOPS_PER_MIBPS
    if volume.throughput_mibps > most_throughput:
        yield Finding(
            Problem(
                f"{path}.throughputMibps",
                str(volume.throughput_mibps),
                f"at most {most_throughput} for {volume.iops} IOPS, a quarter of them",
                f"set {path}.iops to {volume.throughput_mibps * _IOPS_PER_MIBPS}",
            ),
            (f"{path}.throughputMibps", f"{path}.iops"),
        )


def _not_together(section: str, given: Iterable[str], with_key: str, why: str) -> Iterator[Finding]:
    for key in given:
        path = f"{section}.{key}"
        problem = Problem(
            path, f"set together with {with_key}", f"only one of {key} and {with_key}", why
        )
        yield Finding(problem, (path, f"{section}.{with_key}"))


def _shared_folder(settings: Settings) -> Iterator[Finding]:
    folder, path = settings.shared_folder, "sharedFolder.provisionedThroughputMibps"
    reads = (path, "sharedFolder.throughputMode")
    if folder.file_system_id is not None:
        ours = ("throughputMode", "provisionedThroughputMibps", "backups")
        yield from _not_together(
            "sharedFolder",
            [key for key in ours if key in _given(folder)],
            "fileSystemId",
            "an existing file system keeps the settings it has",
        )
    elif folder.throughput_mode == "provisioned" and folder.provisioned_throughput_mibps is None:
        problem = Problem(
            path, "nothing", "a number from 1 to 10240", "throughputMode provisioned requires it"
        )
        yield Finding(problem, reads)
    elif (
        folder.throughput_mode != "provisioned" and folder.provisioned_throughput_mibps is not None
    ):
        problem = Problem(
            path,
            f"{folder.provisioned_throughput_mibps:g}",
            f"nothing, as throughputMode is {folder.throughput_mode}",
            "set throughputMode to provisioned, or leave this out",
        )
        yield Finding(problem, reads)


def _existing_network(settings: Settings) -> Iterator[Finding]:
    network = settings.network
    vpc, subnets = "network.vpcId", "network.subnetIds"
    if network.vpc_id is None and network.subnet_ids:
        problem = Problem(vpc, "nothing", "the id of the VPC that the subnets of subnetIds are in")
        yield Finding(problem, (vpc, subnets))
    elif network.vpc_id is not None:
        if not network.subnet_ids:
            problem = Problem(
                subnets, "nothing", f"the ids of at least two private subnets of {network.vpc_id}"
            )
            yield Finding(problem, (vpc, subnets))
        ours = ("cidrBlock", "availabilityZones", "natGateways", "flowLogs")
        yield from _not_together(
            "network",
            [key for key in ours if key in _given(network)],
            "vpcId",
            "an existing VPC keeps the settings it has",
        )


def _release(settings: Settings) -> Iterator[Finding]:
    yield from release_has_its_checksum(settings.release)
    source, path = settings.release.source, "release.source"
    if source.startswith("file:"):
        allowed = '"preinstalled", "s3://bucket/key" or "https://host/path"'
        hint = "machines on AWS fetch the archive: `./cluster publish` stores it, and writes its address here"
        yield Finding(Problem(path, shown(source), allowed, hint), (path,))


def release_has_its_checksum(release: Release) -> Iterator[Finding]:
    """An archive that is delivered comes with its checksum, and only such a one."""
    path = "release.sha256"
    preinstalled = release.source == "preinstalled"
    if preinstalled and release.sha256 is not None:
        problem = Problem(
            path,
            "a checksum",
            "nothing, as source is preinstalled and no tarball is fetched",
            "leave it out, or say in source where the tarball is",
        )
        yield Finding(problem, (path, "release.source"))
    elif not preinstalled and release.sha256 is None:
        problem = Problem(
            path,
            "nothing",
            "the tarball's SHA-256 as 64 lower-case hex digits",
            "nodes refuse a tarball they cannot verify; `sha256sum FILE` prints it",
        )
        yield Finding(problem, (path, "release.source"))


def _image(settings: FollowersOnAws) -> Iterator[Finding]:
    given = _given(settings.image)
    if settings.image.id is not None:
        others = [key for key in ("ssmParameter", "marketplace", "lock") if key in given]
        why = "an id pins the image, so the other is never read"
        yield from _not_together("image", others, "id", why)
    elif settings.image.marketplace and "ssmParameter" in given:
        why = "the Marketplace's image is found by its name, so the parameter is never read"
        yield from _not_together("image", ["ssmParameter"], "marketplace", why)


def _given(section: BaseModel) -> set[str | None]:
    """The keys that the stack file has in a section, as it spells them."""
    return {type(section).model_fields[name].alias for name in section.model_fields_set}
