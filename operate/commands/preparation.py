"""What comes before anything is changed: checks, what an interrupted run left, and what a change will do."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network

from model.changed_keys import ChangedKey
from model.changes import Effect
from model.problems import UserError, counted
from model.recorded import Recorded, moved, recorded
from model.settings.aws import Settings
from model.settings.hosts import FollowersOnHosts, HostsSettings
from model.tags import CLUSTER_TAG
from operate.commands.screen import print_table
from operate.hosts.connected import Hosts
from operate.hosts.losses import replacements
from operate.hosts.preflight import preflight, trouble_table
from operate.nodes.joined import cluster_and_release, cluster_of, leaders_encryption
from operate.nodes.on_aws import entries
from operate.stack.changes import (
    UnknownSettingsError,
    change_table,
    changes_since_deployment,
    refuse_never,
)
from operate.stack.deployment import (
    SANDBOX_DIRECTORY,
    Deployment,
    Target,
    choice_of,
)
from operate.stack.kept_data import (
    DATA_OF_KEY,
    Loss,
    loss_table,
    losses,
    may_lose_data,
    never,
    planned,
    refuse,
    refuse_beside_a_machine,
    tell_given_up,
)
from operate.stack.recover import recover
from operate.stack.rehearsed_hosts import refuse_impossible
from operate.terminal.messages import console, say
from preflight import PreflightError
from preflight import run as run_preflight
from preflight.cost import reckoning
from preflight.cost_table import cost_line, cost_table
from preflight.credentials import credentials
from preflight.situation import Situation, situation_of
from preflight.table import could_not_run, report_table


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What the preflight found, to be told once more below a long plan."""

    could_not_run: str
    """The checks that could not run, each with why; empty where all did."""
    cost: str
    """What the stack costs in all."""


def take_over(opened: Deployment) -> None:
    """Make sure that it is this cluster and that its secrets can be read; take up what an interrupted run left."""
    if opened.sandbox is None:
        opened.require_passphrase()
    refuse_another_region(opened)
    recover(opened)


def prepare(opened: Deployment) -> Looked | None:
    """Look before anything starts; create the stack if it is new; take over what an interrupted run left; say if the
    sandbox was restarted. Returns what the preflight found on AWS; None on hosts."""
    looked = None
    if not isinstance(opened.settings, FollowersOnHosts):
        cluster_of(opened)  # refuses a leaderStack that is none; on hosts its preflight does
        looked = preflight_on_aws(opened)
        if opened.sandbox is not None and opened.sandbox.machines:
            refuse_a_shared_block(opened)
    if not opened.exists():
        opened.create()
        return looked
    take_over(opened)
    outputs = opened.outputs()
    if (
        opened.sandbox is not None
        and "bucket" in outputs
        and not sandbox_knows(opened, outputs["bucket"])
    ):
        say(
            "the sandbox was restarted since the last deployment, and its AWS is empty: "
            "what the state lists is made anew"
        )
    return looked


def known(opened: Deployment) -> Recorded:
    """What the state says of the cluster; nothing before the first deployment."""
    return recorded(opened.checkpoint().get("resources", []) if opened.exists() else [])


def situation_on_aws(opened: Deployment) -> Situation:
    """What the preflight looks at. Raises :class:`UserError` for a stack on hosts."""
    settings = opened.settings
    if isinstance(settings, FollowersOnHosts):
        raise UserError(
            f"the stack {opened.stack} is on hosts, which have neither quotas nor prices of AWS"
        )
    return situation_of(
        settings,
        opened.region,
        opened.cluster,
        opened.client,
        cluster_and_release(opened)[1],
        lambda: known(opened),
        choice=opened.choice,
        is_rehearsal=opened.sandbox is not None,
    )


def signed_in(opened: Deployment) -> Situation:
    """The same, once AWS knows the caller. Raises :class:`UserError` with how to sign in."""
    situation = situation_on_aws(opened)
    for problem in credentials(situation):
        raise UserError(str(problem))
    return situation


def preflight_on_aws(opened: Deployment) -> Looked:
    """Make the preflight and show it. Raises :class:`PreflightError` for what would make the deployment fail."""
    situation = situation_on_aws(opened)
    report = run_preflight(situation, situation.settings.preflight.skip)
    print_table(report_table(report), stderr=True)
    for each in report.outcomes:
        if each.document:
            console.print(each.document, highlight=False, markup=False, soft_wrap=True)
    if "credentials" not in report.checks("failed"):
        print_table(cost_table(reckoning(situation)), stderr=True)
    if "quota" in report.checks("failed"):
        say(
            f"`./cluster quota-request{opened.choice}` shows the insufficient quotas and what is already requested, "
            "and requests the rest after a yes"
        )
    if report.problems:
        raise PreflightError(report)
    return Looked(could_not_run=could_not_run(report), cost=cost_line(reckoning(situation)))


def tell_changes(opened: Deployment) -> tuple[ChangedKey, ...] | None:
    """Show what changed since the last deployment and what that does; None where it is not known.

    Raises :class:`UserError` for what the cluster cannot take, whatever data somebody would give up.
    """
    try:
        changes = changes_since_deployment(opened)
    except UnknownSettingsError as error:
        say(
            f"{error}; what its keys do is documented in model/settings/aws.py, and Pulumi's plan is below"
        )
        return None
    if changes:
        print_table(change_table(changes), stderr=True)
    if any(each.effect is Effect.NEVER and each.path not in DATA_OF_KEY for each in changes):
        refuse_never(changes)
    return changes


def data_to_give_up(
    opened: Deployment, changes: tuple[ChangedKey, ...] | None, typed: set[str]
) -> list[Loss]:
    """The kept data that a plan would replace or delete.

    Raises :class:`UserError` for such data whose name was not *typed*, and for *changes* that want other data although
    the plan gives up none.
    """
    resources = opened.checkpoint().get("resources", [])
    tell_given_up(resources)
    if not may_lose_data(changes, opened):
        lost = []
    else:
        lost = losses(planned(opened), resources)
        refuse_never(never(changes or (), lost, resources))
        settings = opened.settings
        if isinstance(settings, Settings):
            snapshot = settings.leader.data_volume.snapshot_id
            refuse_beside_a_machine(lost, resources, snapshot, opened.choice)
    if lost:
        print_table(loss_table(lost), stderr=True)
    refuse(lost, typed, opened.choice)
    return lost


def refuse_a_shared_block(opened: Deployment) -> None:
    """Raise :class:`UserError` when another cluster of this sandbox has the same IPv4 block.

    AWS keeps VPCs of one block apart; the Docker of a sandbox cannot, and the second one's machines would not boot.
    """
    settings = opened.settings
    if not isinstance(settings, Settings) or settings.network.vpc_id is not None:
        return  # it makes no VPC
    block = IPv4Network(settings.network.cidr_block)
    for vpc in opened.client("ec2").describe_vpcs()["Vpcs"]:
        tags = {tag["Key"]: tag["Value"] for tag in vpc.get("Tags", [])}
        other = tags.get(CLUSTER_TAG, opened.cluster)
        if other != opened.cluster and block.overlaps(IPv4Network(vpc["CidrBlock"])):
            stack = other.rpartition("/")[2]
            raise UserError(
                f"network.cidrBlock: got {block}, and the machines of the stack {stack} in this sandbox have it too. "
                f"End that stack first (`./cluster down{choice_of(stack, Target.SANDBOX)}`), give one of them another "
                "block, or record "
                f"machines only: `./cluster down{opened.choice}`, then SANDBOX_MACHINES=off"
            )


def refuse_another_region(opened: Deployment) -> None:
    """Raise :class:`UserError` when the stack file names another region than the one the cluster is in."""
    if isinstance(opened.settings, FollowersOnHosts):
        return  # hosts are in no region, and their stack file names none
    if reason := moved(known(opened), opened.region):
        raise UserError(reason)


def sandbox_knows(opened: Deployment, bucket: str) -> bool:
    """Whether the sandbox's AWS still has what the state says."""
    buckets = opened.client("s3").list_buckets()["Buckets"]
    return any(each["Name"] == bucket for each in buckets)


def plain_traffic_on_hosts(settings: FollowersOnHosts, encryption: str | None) -> str:
    """What crosses the network between the hosts unencrypted; *encryption* is that of the leader's stack."""
    folder = settings.shared_folder if isinstance(settings, HostsSettings) else None
    if encryption is not None:
        if folder is not None and folder.kind == "nfs":
            return (
                f"PostgreSQL and Redis go through WireGuard; NFS of {folder.server} crosses the network as plain text: "
                "it must be one that only that server and these hosts are on (docs/how-to/deploy-on-hosts.md)"
            )
        return "what the nodes say to each other goes through WireGuard (docs/how-to/deploy-on-hosts.md)"
    nfs = "" if folder is not None and folder.kind == "path" else " and NFS"
    services = "PostgreSQL, Redis" if nfs else "PostgreSQL and Redis"
    return (
        f"{services}{nfs} cross the network between the hosts as plain text: it must be one that only these hosts "
        "are on; `encryption: wireguard` encrypts them (docs/how-to/deploy-on-hosts.md)"
    )


def check_hosts(opened: Deployment, hosts: Hosts) -> list[str]:
    """Look at every host before any is touched; the options by which Pulumi brings again what is lost there.

    Raises :class:`UserError` for what keeps a host from being a node.

    A host that does not answer stops only the first deployment: later its cluster goes on without it. Where none does,
    the mistake is on this side.
    """
    say(f"looking at {counted(len(hosts.settings.nodes), 'host')}")
    encryption = (
        hosts.settings.encryption
        if isinstance(hosts.settings, HostsSettings)
        else leaders_encryption(opened)
    )
    if hosts.settings.followers:
        say(plain_traffic_on_hosts(hosts.settings, encryption))
    if opened.sandbox is not None:
        say(
            "a rehearsal has users, SSH ports and host keys of its own; those of the stack file are not tried"
        )
        refuse_impossible(hosts.settings, SANDBOX_DIRECTORY, opened.stack)
    outputs = opened.outputs()
    is_deployed = "followers" in outputs
    deployed = {
        node
        for node, entry in (entries(outputs) if is_deployed else {}).items()
        if node in hosts.access and entry["address"] == hosts.settings.private_address(node)
    }
    troubles = preflight(
        hosts, *cluster_and_release(opened), deployed, is_encrypted=encryption is not None
    )
    if not troubles:
        return []
    print_table(trouble_table(troubles, opened.choice), stderr=True)
    away = {each.node for each in troubles if each.unreachable}
    goes_on = is_deployed and len(away) < len(hosts.settings.nodes)
    blocking = [each for each in troubles if each.blocks and not (goes_on and each.unreachable)]
    if blocking:
        raise UserError(
            f"{counted(len(blocking), 'problem')} on the hosts, listed above; nothing was changed, and the same "
            "command looks again"
        )
    lacking = {each.node: each.lacks for each in troubles if each.lacks}
    return replacements(opened.checkpoint()["resources"], opened.stack, lacking) if lacking else []
