"""Before a host is touched: everything that would keep it from being a node, of all hosts at once.

One pass over one SSH connection a host. The agent itself looks (``agent.pyz inspect``), so that what is judged here is
what it will meet.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from typing import Any

from pydantic import ValidationError
from rich.markup import escape
from rich.table import Table

from agent.supported import COMPOSE, knows_override
from components.agent_archive import build_archive
from model import tunnel
from model.settings.hosts import FollowersOnHosts, HostsSettings
from model.settings.hosts_rules import hidden_hosts
from model.settings.sections import Release
from model.specification import POSTGRES_PORT, REDIS_PORT, RUN_AGENT
from operate.hosts.connected import Hosts
from operate.hosts.facts import Facts
from operate.hosts.losses import SECRET_GONE
from operate.hosts.sent_agent import NO_PYTHON, NO_SUDO, run_once
from operate.hosts.ssh import SshError
from operate.terminal.messages import for_stack
from preflight.release import RELEASES
from preflight.tables import plain_table

NFS_PORT = 2049
WEB_PORTS = (80, 443)
IMAGES_GIB, FILES_GIB = 36 * RELEASES, 4 * RELEASES
"""Free space for the images of releases (graphistry-cli, hardware: about 14 GB each, and room to unpack), and for their
other files. The agent wants room for one of them, whenever it brings one."""
ARCHIVE_GIB = 20
"""The largest archive that the vendor names, which waits beside the files where the operator's computer brings it."""

STORE_GIB = 10
"""For PostgreSQL and the shared folder, to begin with."""
CLOCK_SECONDS = 60
"""By how much clocks may differ; logins break at minutes."""

SHORTFALL = 0.9
"""Part of the memory in a profile that must be there: vendors count in powers of ten, drivers reserve some."""

TESTED = ("ubuntu 22.04", "ubuntu 24.04", "debian 12", "debian 13")

NO_COMMAND = "No such file or directory"
"""How the agent says that there is no nvidia-smi."""
PROGRAMS = {
    "docker": "install Docker Engine with the compose plugin (docs.docker.com/engine/install)",
    "compose": "install Docker's compose plugin: the package docker-compose-plugin of Docker's own repository",
    "nvidia": "install nvidia-container-toolkit; the agent tells Docker of it",
    "driver": "install NVIDIA's driver; `nvidia-smi` must work as root",
}


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """One thing that keeps a host from being a node."""

    node: str
    what: str
    hint: str
    blocks: bool = True
    """False: said, and gone on."""
    lacks: tuple[str, ...] = ()
    """What was delivered and is not there, for the deployment to bring again."""
    unreachable: bool = False
    """Whether nobody could sign in: it does not answer, or not to this key, or with another key of its own."""


def preflight(
    hosts: Hosts,
    cluster: str,
    release: Release | None,
    deployed: Collection[str],
    *,
    is_encrypted: bool = False,
) -> list[Trouble]:
    """Everything that is wrong with any host; the connections stay open for what follows.

    *release* is the one that they are to run; *deployed* are the nodes that were delivered to their hosts before;
    *is_encrypted* is whether followers are to reach the leader by WireGuard.
    """
    archive = build_archive().read_bytes()
    looked = hosts.on_each(hosts.settings.nodes, lambda node: _look(hosts, node, archive))
    facts = {node: found for node, found in looked.items() if isinstance(found, Facts)}
    troubles = [found for found in looked.values() if isinstance(found, Trouble)]
    for node, found in facts.items():
        is_deployed = node in deployed
        troubles += problems(hosts.settings, node, found, cluster, release, is_deployed=is_deployed)
        if is_encrypted:
            troubles += without_tunnel(node, found)
    if isinstance(hosts.settings, HostsSettings):
        troubles += without_data(facts, deployed)
    troubles += twins(facts)
    troubles += hidden(hosts.settings)
    troubles += _unreached(hosts, facts, archive, is_encrypted=is_encrypted)
    order = list(hosts.settings.nodes)
    return sorted(troubles, key=lambda trouble: order.index(trouble.node))


def without_data(facts: Mapping[str, Facts], deployed: Collection[str]) -> Iterator[Trouble]:
    """That the cluster begins with an empty database, as a new one should and one whose leader has moved should not."""
    leader = facts.get("leader")
    if leader is not None and leader.data_services is None and "leader" not in deployed:
        yield Trouble(
            node="leader",
            what="it has no data of a cluster: this one begins with an empty database",
            hint="right for a new cluster; bring the data of another host first (docs/how-to/deploy-on-hosts.md, 4)",
            blocks=False,
        )


def without_tunnel(node: str, found: Facts) -> Iterator[Trouble]:
    """What keeps a host from the tunnel: no WireGuard, its port taken, or the addresses inside."""
    if found.wireguard is None:
        yield Trouble(
            node=node,
            what="its kernel has no WireGuard, and encryption is wireguard",
            hint="a kernel of 5.6 or newer has it (`modprobe wireguard`); the agent installs wireguard-tools",
        )
    port = f"{tunnel.PORT}/udp"
    if port in found.listening:
        yield Trouble(
            node=node,
            what=f"port {port} is taken by {found.listening[port]}",
            hint="let that listen on another port: `ss -lunp` shows it, and `wg show` if it is WireGuard",
        )
    # A way to half of all addresses, as of a VPN, leads past the tunnel's own, which is more exact.
    ways = map(IPv4Network, found.networks)
    taken = [each for each in ways if each.prefixlen >= 8 and each.overlaps(tunnel.NETWORK)]
    if taken:
        yield Trouble(
            node=node,
            what=f"it has a way to {taken[0]}, and the addresses inside the tunnel are in {tunnel.NETWORK}",
            hint="take that network away from the host (`ip route show table all`), or leave encryption out",
        )


def hidden(settings: FollowersOnHosts) -> Iterator[Trouble]:
    """Hosts that others may look for in a bridge of their own Docker, each told once."""
    told: dict[str, tuple[list[str], IPv4Network]] = {}
    for node, other, network in hidden_hosts(settings):
        told.setdefault(node, ([], network))[0].append(other)
    for node, (others, network) in told.items():
        yield Trouble(
            node=node,
            what=f"its address {settings.private_address(node)} is in {network}, which Docker takes by default: "
            f"{', '.join(others)} may not reach it",
            hint='give Docker there other networks: "default-address-pools" (and "bip") in /etc/docker/daemon.json',
            blocks=False,
        )


def _look(hosts: Hosts, node: str, archive: bytes) -> Facts | Trouble:
    if node in hosts.unlike:
        # It is not what the deployment will meet.
        hint = "`./cluster up` sees to it; until then nobody looks at it"
        return Trouble(node=node, what=hosts.unlike[node], hint=hint, blocks=False)
    try:
        connection = hosts.connection(node)
        begun = time.time()
        answer = connection.run(run_once("inspect", archive), stdin=archive, seconds=120)
        ended = time.time()
    except SshError as error:
        return Trouble(node=node, what=str(error), hint=error.hint, unreachable=True)
    user = hosts.access[node].user
    if NO_SUDO in answer.error:
        return Trouble(
            node=node,
            what=f"{user} may not use sudo without a password",
            hint=f"on the host: echo '{user} ALL=(ALL) NOPASSWD: ALL' | sudo tee /etc/sudoers.d/{user}",
        )
    if NO_PYTHON in answer.error:
        return Trouble(
            node=node, what="there is no /usr/bin/python3", hint="install Python 3.8 or newer"
        )
    try:
        found = Facts.model_validate_json(answer.output)
    except ValidationError:
        said = (answer.error or answer.output).strip().splitlines() or ["nothing"]
        hint = "the agent needs Python 3.8 or newer at /usr/bin/python3, and room in /tmp"
        return Trouble(node=node, what=f"the agent cannot look around: {said[-1]}", hint=hint)
    # The host's clock was read at some moment in between.
    early, late = found.time - ended, found.time - begun
    offset = early if early > 0 else min(late, 0.0)
    return found.model_copy(update={"clock_offset": offset, "login_noise": answer.noise})


def problems(
    settings: FollowersOnHosts,
    node: str,
    found: Facts,
    cluster: str,
    release: Release | None,
    *,
    is_deployed: bool = False,
) -> Iterator[Trouble]:
    """What is wrong with one host that is to run *release*, from what the agent has found on it."""

    def trouble(what: str, hint: str, *, blocks: bool = True) -> Trouble:
        return Trouble(node=node, what=what, hint=hint, blocks=blocks)

    ours = is_deployed if found.node is None else found.node.cluster == cluster
    if found.node is not None and (found.node.cluster, found.node.node) != (cluster, node):
        yield trouble(
            f"this host is {found.node.node} of the cluster {found.node.cluster}",
            f"end it there first, or name another host; by hand: sudo {RUN_AGENT} remove",
        )
    if found.os_id not in TESTED:
        tested = ", ".join(TESTED)
        yield trouble(f"{found.os} was never tried", f"tried are {tested}", blocks=False)
    if found.architecture != "x86_64":
        yield trouble(f"its processor is {found.architecture}", "Graphistry runs on x86_64")
    if not found.systemd:
        yield trouble(
            f"{found.os} does not run systemd", "use a host with systemd; containers have none"
        )
    yield from (trouble(what, hint) for what, hint in _programs(found))
    yield from (trouble(what, hint) for what, hint in _sizes(settings, node, found))
    yield from (trouble(what, hint) for what, hint in _room(node, release, found))
    if release is not None:
        yield from (trouble(what, hint) for what, hint in _release(release, found))
    if node == "leader" and isinstance(settings, HostsSettings):
        yield from (trouble(what, hint) for what, hint in _data_services(settings, found))
    if node == "leader" and "secret" in found.lacks and found.data_services is not None:
        yield trouble(*SECRET_GONE)
    elif ours and found.lacks:
        yield replace(
            trouble(
                "nothing of the node that it should be is there any more"
                if found.node is None
                else f"it lacks what was delivered: {', '.join(found.lacks)}",
                "`./cluster up` brings it again",
                blocks=False,
            ),
            lacks=found.lacks,
        )
    if found.docker.version is not None and found.docker.changes:
        yield trouble(
            f"/etc/docker/daemon.json gets {', '.join(found.docker.changes)}; Docker restarts",
            "all else in it stays; containers that run on the host end and start again, unless it has live-restore",
            blocks=False,
        )
    if not ours:
        yield from (trouble(what, hint) for what, hint in _taken_ports(settings, node, found))
    if abs(found.clock_offset) > CLOCK_SECONDS:
        which = "ahead of" if found.clock_offset > 0 else "behind"
        yield trouble(
            f"its clock is {abs(found.clock_offset):.0f} s {which} this computer's",
            "let chrony or systemd-timesyncd run on both",
        )


def _programs(found: Facts) -> Iterator[tuple[str, str]]:
    if found.docker.version is None:
        yield "there is no Docker that answers", PROGRAMS["docker"]
    else:
        if found.docker.compose is None:
            yield "Docker has no compose plugin", PROGRAMS["compose"]
        elif not knows_override(found.docker.compose):
            yield (
                f"Docker's compose plugin is {found.docker.compose}, {COMPOSE} is needed",
                PROGRAMS["compose"],
            )
        if found.docker.settings_problem is not None:
            yield found.docker.settings_problem, "make it a JSON object, as Docker itself needs it"
        if found.docker.nvidia_runtime is None:
            yield "there is no nvidia-container-runtime", PROGRAMS["nvidia"]
    if found.gpu_problem is not None and not found.gpu_problem.message.endswith(NO_COMMAND):
        yield found.gpu_problem.message, found.gpu_problem.hint
    elif found.driver is None:
        yield "NVIDIA's driver does not answer", PROGRAMS["driver"]


def _sizes(settings: FollowersOnHosts, node: str, found: Facts) -> Iterator[tuple[str, str]]:
    profile, wanted = settings.profile_of(node), settings.gpus_of(node)
    name = settings.nodes[node].profile
    if found.driver is not None:
        if len(found.gpus) < wanted:
            yield (
                f"it shows {len(found.gpus)} of {wanted} GPUs",
                f"fix the host, or lower gpuProfiles.{name}.gpus",
            )
        least = min((gpu.memory_mib for gpu in found.gpus[:wanted]), default=None)
        if least is not None and least < profile.gpu_memory_mib * SHORTFALL:
            yield (
                f"a GPU has {least // 1024} GiB, the profile {name} says {profile.gpu_memory_gib}",
                f"correct gpuProfiles.{name}.gpuMemoryGib: worker counts follow from it",
            )
    if found.memory_mib < profile.memory_mib * SHORTFALL:
        yield (
            f"it has {found.memory_mib // 1024} GiB of memory, the profile {name} says {profile.memory_gib}",
            f"correct gpuProfiles.{name}.memoryGib: worker counts follow from it",
        )


def _room(node: str, release: Release | None, found: Facts) -> Iterator[tuple[str, str]]:
    """File systems without room for all that will be put there, each told once."""
    needs: dict[str, tuple[int, str]] = {}
    if node == "leader":
        needs["/var/lib"] = (STORE_GIB, "PostgreSQL and the shared folder")
    if release is not None and release.source != "preinstalled" and found.node is None:
        archive = ARCHIVE_GIB if release.source.startswith("file:") else 0
        needs["/var/lib/docker"] = (IMAGES_GIB, "the images of a release and of the next one")
        needs["/opt"] = (FILES_GIB + archive, "their files")
    together: dict[object, list[str]] = {}
    for folder in needs:
        together.setdefault(found.file_systems.get(folder, folder), []).append(folder)
    for folders in together.values():
        free = min(
            (found.free_gib[each] for each in folders if each in found.free_gib), default=None
        )
        needed = sum(needs[each][0] for each in folders)
        if free is not None and free < needed:
            what = ", ".join(f"{needs[each][1]} {needs[each][0]}" for each in folders)
            yield (
                f"{' and '.join(folders)} {'has' if len(folders) == 1 else 'share'} {free:.0f} GiB free",
                f"{needed} GiB are needed there, and more later: {what}",
            )


def _release(wanted: Release, found: Facts) -> Iterator[tuple[str, str]]:
    """That a host comes with another release, or with none, or has no room for the one that is brought."""
    it = f"{wanted.version} for CUDA {wanted.cuda}"
    if wanted.source == "preinstalled":
        if found.release is None:
            yield (
                "no release is unpacked on it, and release.source is preinstalled",
                f"unpack {it} to /var/graphistry on it, or set release.source to an archive",
            )
        elif (found.release.version, found.release.cuda) != (wanted.version, wanted.cuda):
            yield (
                f"{found.release.folder} on it is {found.release.version} for CUDA {found.release.cuda}, "
                f"release says {it}",
                f"put {it} there first, or write version and cuda of release as they are on the hosts",
            )


def _data_services(settings: HostsSettings, found: Facts) -> Iterator[tuple[str, str]]:
    kind, user = settings.data_services.kind, settings.resolved(settings.leader.host).user
    if kind == "containers" and found.docker.version and not found.docker.open_to_user:
        yield (
            f"{user} may not use Docker without sudo, and dataServices.kind is containers",
            f"on the host: sudo usermod -aG docker {user}",
        )
    if kind == "containers" and found.login_noise:
        first = found.login_noise.splitlines()[0]
        yield (
            f"the login shell of {user} prints before every command ({first}), which breaks the connection of Docker's "
            "plugin (dataServices.kind is containers)",
            "begin ~/.bashrc, or what prints, with: case $- in *i*) ;; *) return;; esac",
        )
    if found.data_services not in (None, kind):
        yield (
            f"its data are those of dataServices.kind {found.data_services}, the stack file says {kind}",
            f"put {found.data_services} back: the other kind begins with an empty database; "
            "docs/how-to/deploy-on-hosts.md describes how to take the data along",
        )


def _taken_ports(settings: FollowersOnHosts, node: str, found: Facts) -> Iterator[tuple[str, str]]:
    ports = list(WEB_PORTS)
    if node == "leader":
        ports += [POSTGRES_PORT, REDIS_PORT]
        if exports_from_leader(settings):
            ports.append(NFS_PORT)
    for port in ports:
        holder = found.listening.get(str(port))
        # A file server that is there already gets one more export.
        if holder and not (port == NFS_PORT and holder == "nfs-server"):
            yield f"port {port} is taken by {holder}", "stop it on this host, or name another host"


def exports_from_leader(settings: FollowersOnHosts) -> bool:
    """Whether the leader of this stack is the file server."""
    return isinstance(settings, HostsSettings) and settings.shared_folder.kind == "nfs-on-leader"


def twins(facts: Mapping[str, Facts]) -> Iterator[Trouble]:
    """One machine under two addresses, or two that were copied from one."""
    seen: dict[str, str] = {}
    for node, found in facts.items():
        if found.machine_id in seen:
            yield Trouble(
                node=node,
                what=f"it has the machine id of {seen[found.machine_id]}",
                hint="name two different hosts; of a copied one: rm /etc/machine-id && systemd-machine-id-setup",
            )
        seen.setdefault(found.machine_id, node)


def _unreached(
    hosts: Hosts, facts: Mapping[str, Facts], archive: bytes, *, is_encrypted: bool
) -> list[Trouble]:
    """Followers that do not get through to the leader's ports, tried while nothing else is there."""
    leader = facts.get("leader")
    followers = [node for node in facts if node != "leader"]
    if leader is None or leader.node is not None or not followers:
        return []  # a leader that is one already lets in whom its agent knows; it will be told of the others
    address = hosts.settings.private_address("leader")
    ports: list[int | str] = [POSTGRES_PORT, REDIS_PORT]
    if exports_from_leader(hosts.settings):
        ports.append(NFS_PORT)
    if is_encrypted:
        ports = [f"{tunnel.PORT}/udp"]
    words = " ".join(map(str, ports))
    listen, reach = run_once(f"listen {words}", archive), f"reach {address} {words}"
    try:
        with hosts.connection("leader").started(listen, stdin=archive):
            answers = hosts.run(followers, run_once(reach, archive), stdin=archive, seconds=60)
    except SshError as error:
        return [Trouble(node="leader", what=str(error), hint=error.hint)]
    return [
        trouble
        for node, answer in answers.items()
        for trouble in _closed(node, answer.output, address, leader)
    ]


def _closed(node: str, output: str, address: str, leader: Facts) -> Iterator[Trouble]:
    try:
        found: dict[str, Any] = json.loads(output)
    except ValueError:
        return
    closed = [port for port, state in found.items() if state != "open"]
    if closed:
        firewall = f" ({leader.firewall} on the leader)" if leader.firewall else ""
        yield Trouble(
            node=node,
            what=f"it does not reach {address} on {', '.join(closed)}{firewall}",
            hint="open these ports between the hosts, or set privateAddress to the network that connects them",
        )


def trouble_table(troubles: list[Trouble], choice: str) -> Table:
    """What is wrong, host by host, and how to fix it; *choice* names the stack in commands."""
    table = plain_table("host", "problem", "what to do", prose=("problem", "what to do"))
    for trouble in troubles:
        colour = "red" if trouble.blocks else "yellow"
        hint = escape(for_stack(trouble.hint, choice, trouble.node))
        table.add_row(trouble.node, f"[{colour}]{escape(trouble.what)}[/]", hint)
    return table
