"""A new stack file, with the comments that the shipped ones have: what a change of each key does.

Plain text in and out; what is written is read once as strictly as any stack file before it is there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from model.problems import UserError
from model.settings.stack_keys import MODELINE
from operate.stack.stack_file import read_stack_file


@dataclass(frozen=True, kw_only=True)
class NewOnAws:
    """A cluster on AWS: a region, and the instance type of each node."""

    region: str
    leader: str
    """An instance type."""
    followers: Mapping[str, str] = field(default_factory=dict)
    """Name to instance type."""


@dataclass(frozen=True, kw_only=True)
class NewOnHosts:
    """A cluster on hosts of one size: the address of each node."""

    leader: str
    """An address, to which SSH goes."""
    followers: Mapping[str, str] = field(default_factory=dict)
    """Name to address."""
    gpus: int
    """GPUs of each host."""
    gpu_memory_gib: int
    """Memory of each GPU in GiB."""
    memory_gib: int
    """Memory of each host in GiB."""


def write_new(path: Path, text: str) -> None:
    """Put a *text* where no stack file is, once it was read without a problem.

    Raises :class:`UserError` where one is already, which stays as it is, and ``SettingsError`` for a text that is no
    sound stack file: nothing is written then.
    """
    with TemporaryDirectory() as folder:
        tried = Path(folder) / path.name
        tried.write_text(text, encoding="utf-8")
        read_stack_file(tried, rehearsal=True)  # `./cluster host-keys` adds the host keys
    refuse_existing(path)
    try:
        file = path.open("x", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None
    try:
        with file:
            file.write(text)
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise UserError(f"{path} cannot be written: {error.strerror}; make room") from None


def refuse_existing(path: Path) -> None:
    """Raise :class:`UserError` where a stack file is already, or a link in its place."""
    if path.exists() or path.is_symlink():
        raise UserError(
            f"stacks/{path.name} exists already, and `init` overwrites nothing: edit it, or give another name"
        )


def on_aws(stack: str, new: NewOnAws) -> str:
    """The text of a stack file on AWS."""
    types = dict.fromkeys((new.leader, *new.followers.values()))
    profiles = "".join(_PROFILE.format(profile=profile_of(each), type=each) for each in types)
    followers = "".join(
        _FOLLOWER.format(name=name, profile=profile_of(each))
        for name, each in new.followers.items()
    )
    return _ON_AWS.format(
        stack=stack,
        region=new.region,
        profiles=profiles,
        leader=profile_of(new.leader),
        followers=f"\n{followers}" if followers else " {}\n",
    )


def on_hosts(stack: str, new: NewOnHosts) -> str:
    """The text of a stack file on hosts."""
    followers = "".join(
        _HOST_FOLLOWER.format(name=name, address=each) for name, each in new.followers.items()
    )
    return _ON_HOSTS.format(
        stack=stack,
        gpus=new.gpus,
        gpu_memory=new.gpu_memory_gib,
        memory=new.memory_gib,
        leader=new.leader,
        followers=f"\n{followers}" if followers else " {}\n",
    )


def profile_of(instance_type: str) -> str:
    """The name of a GPU profile of one instance type."""
    return instance_type.replace(".", "-")


_PROFILE = """\
    {profile}:
      instanceTypes: [{type}]
"""

_FOLLOWER = """\
    {name}:
      profile: {profile}
"""

_ON_AWS = (
    f"{MODELINE}\n"
    + """\
# A cluster on AWS, written by `./cluster init`. stacks/Pulumi.prod.yaml shows every key that may stand here.
# Deploy:   ./cluster publish {stack} release.tar.gz, then ./cluster up {stack}
# Rehearse: docs/how-to/rehearse-faults.md, "A stack of your own"
config:
  # Never changed: another region is another cluster.
  aws:region: {region}

  # Named sizes; nodes refer to them. What each instance type holds: model/gpu_instance_types.csv.
  graphistry-cluster:gpuProfiles:
    # In order of preference: the leader runs the first type, a follower the first with capacity.
    # Change: the leader stops and starts as the new type; a follower on a type listed no more is replaced, the new
    # machine first.
{profiles}
  graphistry-cluster:leader:
    # Change: see instanceTypes.
    profile: {leader}
    # GiB for PostgreSQL, 100 if left out. Change: grows in place; AWS shrinks no volume.
    # dataVolume: {{sizeGib: 200}}

  # The name is the follower: adding or removing one touches no other, renaming is both. May be {{}}.
  # `market: spot` below a profile takes spot capacity first. Change: replaces its machine, the new one first.
  graphistry-cluster:followers:{followers}
  graphistry-cluster:release:
    # Change: every node installs it in place, the leader first.
    version: "2.50.1"
    # CUDA flavour, "12" or "13". Change: in place. `./cluster publish` writes source and sha256 below it.
    cuda: "12"

  # Networks (VPN, peering, Direct Connect) whose users open the nodes' web pages. Change: in place.
  # graphistry-cluster:access:
  #   allowedCidrs: [10.0.0.0/16]

  # USD a month at list prices: what may cost more is refused before anything starts. Change: touches no machine.
  # graphistry-cluster:budget:
  #   monthlyUsd: 5000

  graphistry-cluster:tags:
    # On everything, for the bill. Change: in place.
    environment: {stack}
"""
)

_HOST_FOLLOWER = """\
    {name}:
      profile: host
      host: {{address: {address}}}
"""

_ON_HOSTS = (
    f"{MODELINE}\n"
    + """\
# A cluster on machines that exist already, written by `./cluster init`. stacks/Pulumi.onprem.yaml shows every key that
# may stand here; docs/how-to/deploy-on-hosts.md describes each step:
#   ./cluster host-keys {stack}    collects the host keys, shows their fingerprints, writes each here as `hostKey`
#   ./cluster up {stack}
# Rehearse, which needs no host keys: ./cluster up {stack} --target sandbox
config:
  # Another site is another cluster.
  graphistry-cluster:site: hosts

  # Named sizes; nodes refer to them. Worker counts follow from these sizes; a change restarts the GPU services of the
  # profile's nodes, no host.
  graphistry-cluster:gpuProfiles:
    host:
      gpus: {gpus}
      # GiB of each GPU, and of the host.
      gpuMemoryGib: {gpu_memory}
      memoryGib: {memory}

  # How SSH reaches the hosts; the user needs sudo without a password. A change touches no node. The SSH agent's keys
  # are used; another: pulumi config set --stack {stack} --secret sshPrivateKey < ~/.ssh/id_ed25519
  graphistry-cluster:ssh:
    user: ubuntu
    port: 22

  # Another address is another host: a follower is set up there and removed from the old one; a leader's is refused
  # while the cluster is up, as its data stay on the old one. A host that SSH reaches by another address or name has
  # that as `address`, and the one among the nodes as `privateAddress`.
  graphistry-cluster:leader:
    profile: host
    host: {{address: {leader}}}

  # Adding, changing or removing one touches the leader's firewall and exports, and no other follower.
  graphistry-cluster:followers:{followers}
  # nfs-on-leader: a folder of the leader's own, exported to the followers. Another one is other data: the nodes refuse
  # it unless it is this cluster's.
  graphistry-cluster:sharedFolder:
    kind: nfs-on-leader

  # preinstalled: Graphistry is on the hosts. `file:/absolute/path` with its sha256 streams the archive from here.
  # Change: every node installs it in place, the leader first.
  graphistry-cluster:release:
    version: "2.50.1"
    # CUDA flavour, "12" or "13". Change: in place.
    cuda: "12"
    source: preinstalled
"""
)
