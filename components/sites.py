"""Which machines a stack file asks for: AWS's or hosts, with a leader of their own or another stack's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pulumi

from components.aws.joined_machines import JoinedAwsMachines, JoinedAwsMachinesArgs
from components.aws.machines import AwsMachines, AwsMachinesArgs
from components.hosts.hosts_cluster import HostsCluster
from components.hosts.machines import HostsMachines, HostsMachinesArgs
from components.machines import Machines
from model.settings.aws import JoinedSettings, Settings
from model.settings.hosts import HostsSettings, JoinedHostsSettings

MakeMachines = Callable[[str, pulumi.Resource], Machines]
"""Makes what the machines of a site have in common, below a cluster and named after it."""


def machines_on_aws(
    settings: Settings | JoinedSettings,
    joined: Mapping[str, Any] | None,
    project: str,
    stack: str,
    region: str,
    identity: str,
    *,
    delete_data: bool,
) -> MakeMachines:
    """Machines of AWS; *joined* is the output ``join`` of the stack that has the leader, *identity* tells the cluster
    from others of its name."""
    if isinstance(settings, Settings):
        args = AwsMachinesArgs(
            settings=settings,
            project=project,
            stack=stack,
            region=region,
            identity=identity,
            delete_data=delete_data,
        )
        return lambda name, cluster: AwsMachines(name, args, cluster)
    joined_args = JoinedAwsMachinesArgs(
        settings=settings,
        leader=joined or {},
        project=project,
        stack=stack,
        region=region,
        identity=identity,
        delete_data=delete_data,
    )
    return lambda name, cluster: JoinedAwsMachines(name, joined_args, cluster)


def machines_on_hosts(
    settings: HostsSettings | JoinedHostsSettings,
    joined: Mapping[str, Any] | None,
    project: str,
    stack: str,
) -> MakeMachines:
    """Hosts that become nodes; *joined* is the output ``join`` of the stack that has the leader."""
    cluster_facts = (
        HostsCluster.own(settings, f"{project}/{stack}")
        if isinstance(settings, HostsSettings)
        else HostsCluster.joined(joined or {})
    )
    args = HostsMachinesArgs(settings=settings, cluster=cluster_facts, stack=stack)
    return lambda name, cluster: HostsMachines(name, args, cluster)
