"""The rules that span several settings of a stack file of the `hosts` site; see `model.settings.aws_rules`."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from itertools import chain, permutations
from typing import TYPE_CHECKING

from model import tunnel
from model.docker_networks import shared_network
from model.problems import Finding, Problem, shown
from model.settings.aws_rules import profiles_exist, release_has_its_checksum, variables_once

if TYPE_CHECKING:
    from model.settings.hosts import FollowersOnHosts, HostNode, HostsSettings, JoinedHostsSettings

PARTS = {"nfs-on-leader": ("folder",), "nfs": ("server", "export"), "path": ("path",)}
"""Kind of shared folder to the keys that are about it alone."""


def broken_hosts_rules(settings: HostsSettings) -> tuple[Finding, ...]:
    """Every violation, in the order of the stack file's sections."""
    return tuple(
        chain(
            profiles_exist(settings.gpu_profiles, _placed(settings)),
            _gpu_counts(settings),
            _addresses(settings),
            _shared_folder(settings),
            _data_services(settings),
            _encryption(settings),
            release_has_its_checksum(settings.release),
            _release(settings),
            variables_once(settings),
        )
    )


def broken_joined_hosts_rules(settings: JoinedHostsSettings) -> tuple[Finding, ...]:
    """The same for followers of another stack's leader."""
    return (
        *profiles_exist(settings.gpu_profiles, _placed(settings)),
        *_gpu_counts(settings),
        *_addresses(settings),
        *variables_once(settings),
    )


def _placed(settings: FollowersOnHosts) -> Iterator[tuple[str, HostNode]]:
    for name, node in settings.nodes.items():
        yield ("leader" if name == "leader" else f"followers.{name}"), node


def _gpu_counts(settings: FollowersOnHosts) -> Iterator[Finding]:
    profiles = settings.gpu_profiles
    for place, node in _placed(settings):
        profile = profiles.get(node.profile)
        if profile and node.gpus is not None and node.gpus > profile.gpus:
            path, of_profile = f"{place}.gpus", f"gpuProfiles.{node.profile}.gpus"
            allowed = f"at most {profile.gpus}, which is {of_profile}"
            yield Finding(Problem(path, str(node.gpus), allowed), (path, of_profile))


def _addresses(settings: FollowersOnHosts) -> Iterator[Finding]:
    """Every node has an address of its own by which the others reach it."""
    taken: dict[str, str] = {}
    for place, node in _placed(settings):
        address, private = f"{place}.host.address", f"{place}.host.privateAddress"
        if node.host.private_address is None and not _is_ipv4(node.host.address):
            problem = Problem(
                private,
                "nothing",
                "the host's IPv4 address in the cluster's network",
                f"{address} is a name; the other nodes, their firewall and exports need an address",
            )
            yield Finding(problem, (address, private))
            continue
        reached = node.host.private_address or node.host.address
        where = private if node.host.private_address else address
        if reached in taken:
            problem = Problem(
                where, shown(reached), "an address of its own", f"{taken[reached]} has it already"
            )
            yield Finding(problem, (where, taken[reached]))
        taken.setdefault(reached, where)


def hidden_hosts(settings: FollowersOnHosts) -> Iterator[tuple[str, str, IPv4Network]]:
    """Each node whose address is in a network that Docker takes on another node: node, the other, that network.

    Not a broken rule: a host's Docker may have been given other networks (``default-address-pools``), and one in the
    same network as the node takes another by itself.
    """
    addresses = {
        name: IPv4Network(address)
        for name in settings.nodes
        if _is_ipv4(address := settings.private_address(name))
    }
    for node, other in permutations(addresses, 2):
        network = shared_network(addresses[other], addresses[node])
        if network is not None:
            yield node, other, network


def _is_ipv4(text: str) -> bool:
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


def _shared_folder(settings: HostsSettings) -> Iterator[Finding]:
    folder = settings.shared_folder
    kind = "sharedFolder.kind"
    for of_kind, keys in PARTS.items():
        for key in keys:
            value, path = getattr(folder, key), f"sharedFolder.{key}"
            if of_kind == folder.kind and value is None and key != "folder":
                problem = Problem(path, "nothing", f"a value, as {kind} is {shown(folder.kind)}")
                yield Finding(problem, (path, kind))
            # Every kind may say where nodes see the folder.
            if of_kind != folder.kind and value is not None and key != "path":
                hint = f"it is about {shown(of_kind)}"
                problem = Problem(
                    path, shown(value), f"nothing, as {kind} is {shown(folder.kind)}", hint
                )
                yield Finding(problem, (path, kind))


def _data_services(settings: HostsSettings) -> Iterator[Finding]:
    services, kind = settings.data_services, "dataServices.kind"
    for key, image in (
        ("postgresImage", services.postgres_image),
        ("redisImage", services.redis_image),
    ):
        path = f"dataServices.{key}"
        if services.kind == "containers" and image is None:
            allowed = "a container image pinned by digest"
            hint = "`docker buildx imagetools inspect postgres:16` prints the digest of a tag"
            yield Finding(Problem(path, "nothing", allowed, hint), (path, kind))
        if services.kind == "bundled" and image is not None:
            allowed = 'nothing, as dataServices.kind is "bundled"'
            hint = "the release brings its own"
            yield Finding(Problem(path, shown(image), allowed, hint), (path, kind))
    if services.kind == "containers" and settings.ssh_private_key is not None:
        problem = Problem(
            "sshPrivateKey",
            "a key in the stack file",
            'nothing, as dataServices.kind is "containers"',
            "Docker is reached by the ssh command, which takes its keys from the SSH agent: `ssh-add`",
        )
        yield Finding(problem, ("sshPrivateKey", kind))


def _encryption(settings: HostsSettings) -> Iterator[Finding]:
    """Every node has an address of its own inside the tunnel too."""
    if settings.encryption is None:
        return
    taken: dict[str, str] = {}
    for place, node in _placed(settings):
        reached = node.host.private_address or node.host.address
        where = f"{place}.host.{'privateAddress' if node.host.private_address else 'address'}"
        if not _is_ipv4(reached):
            continue  # told already
        if IPv4Address(reached) in tunnel.NETWORK:
            allowed = f"an address outside of {tunnel.NETWORK}"
            hint = "with encryption, the addresses inside the tunnel are there"
            yield Finding(Problem(where, shown(reached), allowed, hint), (where, "encryption"))
            continue
        inside = tunnel.inside(reached)
        if inside in taken:
            allowed = f"an address whose last 17 bits differ from those of {taken[inside]}"
            hint = f"with encryption, both would be {inside} inside the tunnel"
            problem = Problem(where, shown(reached), allowed, hint)
            yield Finding(problem, (where, taken[inside], "encryption"))
        taken.setdefault(inside, where)


def _release(settings: HostsSettings) -> Iterator[Finding]:
    source, path = settings.release.source, "release.source"
    if source.startswith("s3://"):
        allowed = '"preinstalled", "https://host/path" or "file:/absolute/path"'
        hint = "hosts have no role on AWS; download the archive and give its path here"
        yield Finding(Problem(path, shown(source), allowed, hint), (path,))
