"""How `./cluster prove` reaches the nodes of each site."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from model import tunnel
from model.problems import UserError
from model.settings.hosts import Host
from model.specification import specification_key
from operate.commands.proofs import Nodes
from operate.hosts.connected import Hosts, access_to
from operate.nodes.joined import leader_of_another_stack
from operate.nodes.present import present_nodes
from operate.stack.deployment import Deployment
from operate.stack.run_command import Answer, run_command


def nodes_to_prove(
    opened: Deployment,
    outputs: Mapping[str, Any],
    instances: dict[str, str],
    addresses: dict[str, str],
) -> Nodes:
    """Nodes on AWS, through Run Command; what they should be is in their stacks' buckets."""
    buckets = dict.fromkeys(instances, outputs["bucket"])
    joined = leader_of_another_stack(opened, outputs)
    if joined is not None:
        instances = {"leader": joined["leader"]["instanceId"], **instances}
        addresses = {"leader": joined["leader"]["address"], **addresses}
        buckets["leader"] = joined["bucket"]

    def run(nodes: Sequence[str], command: str) -> Mapping[str, Answer]:
        answers = run_command(opened.client("ssm"), [instances[node] for node in nodes], command)
        return {node: answers[instances[node]] for node in nodes}

    def specification(node: str) -> Mapping[str, Any]:
        s3 = opened.client("s3")
        body = s3.get_object(Bucket=buckets[node], Key=specification_key(node))["Body"].read()
        found: Mapping[str, Any] = json.loads(body)
        return found

    return Nodes(addresses=addresses, run=run, specification=specification)


def nodes_to_prove_on_hosts(
    opened: Deployment, outputs: Mapping[str, Any], hosts: Hosts, addresses: dict[str, str]
) -> Nodes:
    """Nodes on hosts, over SSH; what they should be was delivered to them."""
    joined = leader_of_another_stack(opened, outputs)
    if joined is not None:
        host = Host.model_validate(joined["leader"]["host"])
        hosts.access["leader"] = access_to(hosts.settings, host)
        addresses = {"leader": joined["leader"]["address"], **addresses}

    def run(nodes: Sequence[str], command: str) -> Mapping[str, Answer]:
        return hosts.run(nodes, f"sudo -n {command}")

    def specification(node: str) -> Mapping[str, Any]:
        command = "sudo -n cat /opt/graphistry-cluster/specification.json"
        found: Mapping[str, Any] = hosts.run([node], command)[node].json()
        return found

    inside = {node: tunnel.inside(address) for node, address in addresses.items()}
    has_tunnel = outputs["postgres"]["host"] == inside["leader"]
    return Nodes(
        addresses=addresses,
        run=run,
        specification=specification,
        inside=inside if has_tunnel else None,
    )


def provable(opened: Deployment, outputs: Mapping[str, Any], hosts: Hosts | None) -> Nodes:
    """The nodes to prove. Raises :class:`UserError` unless every one of them is ready."""
    found = present_nodes(opened, outputs, hosts)
    unready = [f"{node.name} is {node.state}" for node in found if node.state != "ready"]
    if unready:
        raise UserError(
            f"only a cluster of ready nodes can be proven: {'; '.join(unready)}. `./cluster up{opened.choice}` waits "
            "for them and says why not"
        )
    machines = {node.name: node.machine for node in found if node.machine}
    addresses = {name: machine.address for name, machine in machines.items()}
    if hosts is not None:
        return nodes_to_prove_on_hosts(opened, outputs, hosts, addresses)
    instances = {name: machine.instance_id for name, machine in machines.items()}
    return nodes_to_prove(opened, outputs, instances, addresses)
