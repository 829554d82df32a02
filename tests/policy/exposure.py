"""Rules on who may reach what. Each takes a stack's registrations and yields what breaks it, a sentence each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from tests.harness import Registration

SHELL_PORT = 22
DATA_PORTS = {5432: "PostgreSQL", 6379: "Redis", 2049: "NFS"}
WEB_PORTS = (80, 443)

WIDEST_PREFIX = 8
"""The widest network that may be let in, as 10.0.0.0/8 is; wider ones are the internet in parts."""

HOP_LIMIT = 1
"""The machine itself, and no container on it."""


def wide_open(registrations: Sequence[Registration]) -> Iterator[str]:
    """Every rule of a security group opens one TCP port, lets in no half of the internet and out the web only.

    Rules that stand in a group itself are refused: they would be open beside the file that shows every port.
    """
    for each in registrations:
        if each.kind in ("SecurityGroup", "DefaultSecurityGroup"):
            for direction in {"ingress", "egress"} & set(each.inputs):
                yield f"{each.name}: {direction} in the group itself"
        if each.kind not in ("SecurityGroupIngressRule", "SecurityGroupEgressRule"):
            continue
        ports = each.inputs.get("fromPort"), each.inputs.get("toPort")
        if each.inputs["ipProtocol"] != "tcp" or ports[0] is None or ports[0] != ports[1]:
            yield f"{each.name}: opens {each.inputs['ipProtocol']} {ports}, not one TCP port"
        if "cidrIpv6" in each.inputs or "prefixListId" in each.inputs:
            yield f"{each.name}: a peer that is neither a group nor an IPv4 network"
        cidr = each.inputs.get("cidrIpv4")
        if cidr is None or ip_network(cidr).prefixlen >= WIDEST_PREFIX:
            continue
        if each.kind == "SecurityGroupIngressRule" or ports[0] not in WEB_PORTS:
            yield f"{each.name}: {ports[0]:g} is open to {cidr}"


def open_shell_and_data_ports(registrations: Sequence[Registration]) -> Iterator[str]:
    """SSH is let in nowhere; PostgreSQL, Redis and NFS from security groups only."""
    for each in _kinds(registrations, "SecurityGroupIngressRule"):
        first, last = each.inputs.get("fromPort", 0), each.inputs.get("toPort", 65535)
        if first <= SHELL_PORT <= last:
            yield f"{each.name}: port {SHELL_PORT} is open"
        for port, service in DATA_PORTS.items():
            if first <= port <= last and "referencedSecurityGroupId" not in each.inputs:
                yield f"{each.name}: {service} is open to {each.inputs.get('cidrIpv4')}"


def reachable_machines(registrations: Sequence[Registration]) -> Iterator[str]:
    """No machine has a public address or a key pair, or is in a subnet that an internet gateway leads to."""
    public = _public_subnets(registrations)
    for each in _kinds(registrations, "Instance", "LaunchTemplate", "NetworkInterface", "Group"):
        inputs = each.inputs
        if "keyName" in inputs:
            yield f"{each.name}: has a key pair"
        for interface in (inputs, *inputs.get("networkInterfaces", [])):
            if str(interface.get("associatePublicIpAddress")).lower() == "true":
                yield f"{each.name}: has a public address"
        for subnet in {*inputs.get("vpcZoneIdentifiers", []), inputs.get("subnetId")} & public:
            yield f"{each.name}: is in the public subnet {subnet}"
    for each in _kinds(registrations, "Subnet"):
        if each.inputs.get("mapPublicIpOnLaunch"):
            yield f"{each.name}: gives machines public addresses"


def _public_subnets(registrations: Sequence[Registration]) -> set[str]:
    tables = {
        f"{each.name}-id"
        for each in _kinds(registrations, "RouteTable")
        if any("gatewayId" in route for route in each.inputs["routes"])
    }
    return {
        each.inputs["subnetId"]
        for each in _kinds(registrations, "RouteTableAssociation")
        if each.inputs["routeTableId"] in tables
    }


def old_metadata_service(registrations: Sequence[Registration]) -> Iterator[str]:
    """Every machine requires version 2 of the metadata service, which answers on the machine only."""
    for each in _kinds(registrations, "Instance", "LaunchTemplate"):
        options: Mapping[str, Any] = each.inputs.get("metadataOptions", {})
        if options.get("httpTokens") != "required":
            yield f"{each.name}: answers version 1 of the metadata service"
        if options.get("httpPutResponseHopLimit", HOP_LIMIT + 1) > HOP_LIMIT:
            yield f"{each.name}: the metadata service answers beyond {HOP_LIMIT} hops"


def public_buckets(registrations: Sequence[Registration]) -> Iterator[str]:
    """Every bucket has all four blocks of public access."""
    blocked = {
        each.inputs["bucket"]
        for each in _kinds(registrations, "BucketPublicAccessBlock")
        if all(
            each.inputs.get(name) is True
            for name in (
                "blockPublicAcls",
                "blockPublicPolicy",
                "ignorePublicAcls",
                "restrictPublicBuckets",
            )
        )
    }
    for each in _kinds(registrations, "Bucket"):
        if f"{each.name}-id" not in blocked:
            yield f"{each.name}: may be made public"


def hosts_open_to_others(registrations: Sequence[Registration]) -> Iterator[str]:
    """On hosts, the leader's firewall lets in and its NFS server exports to single addresses, and has a firewall."""
    for each in _kinds(registrations, "Command"):
        if not each.name.endswith("-leader-specification"):
            continue
        told = json.loads(each.inputs["stdin"])
        if not told["firewall"]:
            yield f"{each.name}: no firewall"
            continue
        for peer in (*told["firewall"]["allow"], *told["sharedFolder"].get("clients", [])):
            if not _is_address(peer):
                yield f"{each.name}: lets in {peer}, which is no single address"


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _kinds(registrations: Sequence[Registration], *kinds: str) -> Iterator[Registration]:
    return (each for each in registrations if each.kind in kinds)
