"""Security groups and their rules, one resource each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..aws import Aws
from ..table import Create, Delete, ResourceType, created, deleted, described, kept
from ..values import Properties, RefusalError
from .network import default_group, ec2_tags, filtered


def _remove_rules(aws: Aws, group: Mapping[str, Any]) -> None:
    identifier = group["GroupId"]
    if group.get("IpPermissions"):
        aws.call(
            "ec2.revoke_security_group_ingress",
            GroupId=identifier,
            IpPermissions=group["IpPermissions"],
        )
    if group.get("IpPermissionsEgress"):
        aws.call(
            "ec2.revoke_security_group_egress",
            GroupId=identifier,
            IpPermissions=group["IpPermissionsEgress"],
        )


def _create_group(aws: Aws, inputs: Properties) -> str:
    identifier = created("ec2.create_security_group", "GroupId", {"name": "GroupName"})(aws, inputs)
    groups = aws.call("ec2.describe_security_groups", GroupIds=[identifier])["SecurityGroups"]
    _remove_rules(aws, groups[0])  # the provider's promise: a new group lets nothing out
    return identifier


def _adopt_default_group(aws: Aws, inputs: Properties) -> str:
    vpc = inputs.get("vpcId") or _default_vpc(aws)
    group = default_group(aws, vpc)
    _remove_rules(aws, group)
    return str(group["GroupId"])


def _default_vpc(aws: Aws) -> str:
    vpcs = aws.call("ec2.describe_vpcs", Filters=filtered(is_default="true"))["Vpcs"]
    return str(vpcs[0]["VpcId"])


def _permission(inputs: Properties) -> dict[str, Any]:
    description = {"Description": inputs["description"]} if inputs.get("description") else {}
    permission = {"IpProtocol": inputs["ipProtocol"]}
    for name, argument in (("fromPort", "FromPort"), ("toPort", "ToPort")):
        if name in inputs:
            permission[argument] = inputs[name]
    if "cidrIpv4" in inputs:
        permission["IpRanges"] = [{"CidrIp": inputs["cidrIpv4"], **description}]
    if "referencedSecurityGroupId" in inputs:
        pair = {"GroupId": inputs["referencedSecurityGroupId"], **description}
        permission["UserIdGroupPairs"] = [pair]
    return permission


def _rule_creation(direction: str) -> Create:
    def create(aws: Aws, inputs: Properties) -> str:
        sources = [name for name in ("cidrIpv4", "referencedSecurityGroupId") if name in inputs]
        if len(sources) != 1:
            raise RefusalError("give exactly one of cidrIpv4, referencedSecurityGroupId")
        answer = aws.call(
            f"ec2.authorize_security_group_{direction}",
            GroupId=inputs["securityGroupId"],
            IpPermissions=[_permission(inputs)],
        )
        return str(answer["SecurityGroupRules"][0]["SecurityGroupRuleId"])

    return create


def _update_rule(aws: Aws, identifier: str, inputs: Properties) -> None:
    rule = {
        "FromPort": -1,
        "ToPort": -1,
        "Description": "",
        **{name[0].upper() + name[1:]: inputs[name] for name in inputs if name in _UPDATED.split()},
    }
    if "referencedSecurityGroupId" in inputs:
        rule["ReferencedGroupId"] = inputs["referencedSecurityGroupId"]
    aws.call(
        "ec2.modify_security_group_rules",
        GroupId=inputs["securityGroupId"],
        SecurityGroupRules=[{"SecurityGroupRuleId": identifier, "SecurityGroupRule": rule}],
    )


def _rule_deletion(direction: str) -> Delete:
    def delete(aws: Aws, identifier: str, inputs: Properties) -> None:
        aws.call(
            f"ec2.revoke_security_group_{direction}",
            GroupId=inputs["securityGroupId"],
            SecurityGroupRuleIds=[identifier],
        )

    return delete


def _rule(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
    found = aws.call("ec2.describe_security_group_rules", SecurityGroupRuleIds=[identifier])
    rules = found["SecurityGroupRules"]
    if not rules:
        return None
    rule = dict(rules[0])
    referenced = (rule.get("ReferencedGroupInfo") or {}).get("GroupId")
    if rule["IpProtocol"] == "-1":
        # AWS says -1 for both ports where all protocols are meant; the provider leaves them out.
        rule = {key: value for key, value in rule.items() if key not in ("FromPort", "ToPort")}
    return {**rule, "securityGroupId": rule["GroupId"], "referencedSecurityGroupId": referenced}


def _rule_type(direction: str) -> ResourceType:
    return ResourceType(
        # The provider changes the source of a rule in place; moto ignores such a change.
        fixed="securityGroupId referencedSecurityGroupId",
        updates={_UPDATED: _update_rule},
        twice="description",  # moto hides the one given at creation beside a group
        create=_rule_creation(direction),
        read=_rule,
        delete=_rule_deletion(direction),
        tagger=ec2_tags,
        arn="ec2:security-group-rule/{id}",
    )


_UPDATED = "description ipProtocol fromPort toPort cidrIpv4"

TYPES = {
    "aws:ec2/securityGroup:SecurityGroup": ResourceType(
        fixed="description vpcId name",
        name="name",
        defaults={"description": "Managed by Pulumi"},
        create=_create_group,
        read=described(
            "ec2.describe_security_groups", "GroupIds", "SecurityGroups[0]", name="GroupName"
        ),
        delete=deleted("ec2.delete_security_group", "GroupId"),
        tagger=ec2_tags,
        arn="ec2:security-group/{id}",
    ),
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": ResourceType(
        fixed="vpcId",
        create=_adopt_default_group,
        read=described(
            "ec2.describe_security_groups", "GroupIds", "SecurityGroups[0]", name="GroupName"
        ),
        delete=kept,
        tagger=ec2_tags,
        arn="ec2:security-group/{id}",
    ),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _rule_type("ingress"),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _rule_type("egress"),
}
