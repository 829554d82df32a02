"""Part of the check ``references``: whether machines of an existing VPC can resolve the cluster's private names."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network

from model.problems import Problem
from preflight.network_facts import Description, existing_vpc
from preflight.situation import Finding, Remark, Situation

ATTRIBUTES = {
    "enableDnsSupport": ("EnableDnsSupport", "--enable-dns-support", "DNS support"),
    "enableDnsHostnames": ("EnableDnsHostnames", "--enable-dns-hostnames", "DNS hostnames"),
}
"""Attribute of a VPC to its key in AWS's answer, its option on the command line, and its name in words.

Both have to be on for a private hosted zone, and for the name of an EFS file system (AWS: DNS attributes for your VPC).
"""

AMAZON = "AmazonProvidedDNS"
LINK_LOCAL_RESOLVER = "169.254.169.253"
NO_OPTIONS = "default"
"""DhcpOptionsId of a VPC without a DHCP option set. Nitro machines, and the catalogue has no others, then ask
:data:`LINK_LOCAL_RESOLVER` (AWS: DHCP option set concepts)."""


def names(situation: Situation) -> Iterator[Finding]:
    """DNS attributes that are off, and resolvers that may not know private zones; three calls, none without an
    existing VPC."""
    vpc = existing_vpc(situation)
    if vpc is None:
        return
    yield from _attributes(situation, vpc)
    yield from _resolvers(situation, vpc)


def _attributes(situation: Situation, vpc: Description) -> Iterator[Problem]:
    ec2, name = situation.client("ec2"), vpc["VpcId"]
    for attribute, (key, option, words) in ATTRIBUTES.items():
        # AWS tells one attribute of one VPC a call.
        if not ec2.describe_vpc_attribute(VpcId=name, Attribute=attribute)[key]["Value"]:
            yield Problem(
                path="network.vpcId",
                got=f"{name}, in which {words} is off",
                allowed=f"a VPC with {words}: followers find the leader, and all nodes EFS, by a private DNS name",
                hint=f"aws ec2 modify-vpc-attribute --region {situation.region} --vpc-id {name} "
                f"{option} '{{\"Value\":true}}'",
            )


def _resolvers(situation: Situation, vpc: Description) -> Iterator[Finding]:
    """What the DHCP options name as resolvers.

    Another resolver than Amazon's is a remark and no problem: many company networks forward private zones to an inbound
    endpoint of Route 53 Resolver, and nobody sees that from outside.
    """
    identifier = vpc.get("DhcpOptionsId", NO_OPTIONS)
    if identifier == NO_OPTIONS:
        return
    filters = [{"Name": "dhcp-options-id", "Values": [identifier]}]
    found = situation.client("ec2").describe_dhcp_options(Filters=filters)["DhcpOptions"]
    named = {
        each["Key"]: [value["Value"] for value in each["Values"]]
        for options in found
        for each in options["DhcpConfigurations"]
    }
    servers = named.get("domain-name-servers", [])
    if not servers:
        yield Problem(
            path="network.vpcId",
            got=f"{vpc['VpcId']}, whose DHCP options {identifier} name no resolver",
            allowed=f"DHCP options with domain-name-servers {AMAZON}",
            hint=f"aws ec2 create-dhcp-options --dhcp-configurations Key=domain-name-servers,Values={AMAZON}, and "
            f"aws ec2 associate-dhcp-options --vpc-id {vpc['VpcId']} --dhcp-options-id with the id that it prints",
        )
    elif servers[0] not in _amazon_resolvers(vpc):
        zone = f"{situation.name_of('')[:-1]}.internal"
        yield Remark(
            f"machines of {vpc['VpcId']} ask the resolver {', '.join(servers)} ({identifier}), not {AMAZON}: it must "
            f"forward {zone} and *.amazonaws.com to Route 53 Resolver, or followers do not find the leader"
        )


def _amazon_resolvers(vpc: Description) -> set[str]:
    """The names and addresses of Amazon's resolver: the third address of each block of the VPC is one."""
    blocks = [IPv4Network(each["CidrBlock"]) for each in vpc.get("CidrBlockAssociationSet", [])]
    return {AMAZON, LINK_LOCAL_RESOLVER, *(str(block[2]) for block in blocks)}
