"""What AWS lacks for a group of one: when there is no spot capacity, use on-demand.

An Auto Scaling group keeps asking for spot for ever. Here the event of a failed launch starts an automation
that switches the group to on-demand, and the group's next attempt succeeds. Nothing of ours runs meanwhile: the
rule, the document and the role are AWS's own parts. A group that was switched stays so: to set it back while its
machine runs would have AWS replace that machine. The way back to spot is another group (output ``newMachine`` of the
follower).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_aws import cloudwatch, iam, ssm

from components.aws.follower import AwsFollower
from components.aws.policies import assumable_by, policy
from components.aws.site import AwsSite
from model.tags import named

FALLBACK = "spot-fallback"
"""What the names of all of it have between the cluster's and the follower's."""

DOCUMENT = {
    "schemaVersion": "0.3",
    "description": "Switch an Auto Scaling group from spot to on-demand",
    "assumeRole": "{{ AutomationAssumeRole }}",
    "parameters": {
        "AutomationAssumeRole": {"type": "String"},
        "AutoScalingGroupName": {"type": "String"},
    },
    "mainSteps": [
        {
            "name": "UseOnDemand",
            "action": "aws:executeAwsApi",
            "inputs": {
                "Service": "autoscaling",
                "Api": "UpdateAutoScalingGroup",
                "AutoScalingGroupName": "{{ AutoScalingGroupName }}",
                "MixedInstancesPolicy": {
                    "InstancesDistribution": {"OnDemandPercentageAboveBaseCapacity": 100}
                },
            },
        }
    ],
}


@dataclass(frozen=True, kw_only=True)
class SpotFallbackArgs:
    """Inputs of :class:`SpotFallback`. All change in place."""

    group_names: dict[str, pulumi.Output[str]]
    """Follower to the name of its Auto Scaling group, for every follower on spot."""

    group_prefix: str
    """What the names of the cluster's groups begin with; the automation may change no other group."""

    node_role_path: str
    """IAM path of the roles that the groups' machines run with."""

    region: str
    """AWS region of the groups."""

    account_id: str
    """AWS account of the groups."""

    partition: str
    """AWS partition."""


class SpotFallback(pulumi.ComponentResource):
    """Lets every follower on spot fall back to on-demand.

    Creates: automation document, its role and policy; for each follower an event rule and its target.
    """

    def __init__(
        self, name: str, args: SpotFallbackArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("graphistry-cluster:index:SpotFallback", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        document = ssm.Document(
            name,
            document_type="Automation",
            document_format="JSON",
            content=json.dumps(DOCUMENT),
            tags=named(name),
            opts=child,
        )
        role = iam.Role(
            f"{name}-role",
            description="Switches followers of a Graphistry cluster from spot to on-demand",
            assume_role_policy=assumable_by("events", "ssm"),
            tags=named(f"{name}-role"),
            opts=child,
        )
        ssm_arn = f"arn:{args.partition}:ssm:{args.region}:{args.account_id}:"
        automation = pulumi.Output.concat(
            f"{ssm_arn}automation-definition/", document.name, ":$DEFAULT"
        )
        iam.RolePolicy(
            f"{name}-role",
            role=role.name,
            policy=pulumi.Output.json_dumps(
                policy(
                    {
                        "Effect": "Allow",
                        "Action": "ssm:StartAutomationExecution",
                        # The document and the execution are required, the definition is what the event names
                        # (AWS: Service Authorization Reference).
                        "Resource": [
                            automation,
                            pulumi.Output.concat(f"{ssm_arn}document/", document.name),
                            f"{ssm_arn}automation-execution/*",
                        ],
                    },
                    {
                        "Effect": "Allow",
                        "Action": "iam:PassRole",
                        "Resource": role.arn,
                        "Condition": {"StringEquals": {"iam:PassedToService": "ssm.amazonaws.com"}},
                    },
                    {
                        "Effect": "Allow",
                        "Action": "iam:PassRole",
                        "Resource": f"arn:{args.partition}:iam::{args.account_id}:role{args.node_role_path}*",
                        "Condition": {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
                    },
                    {
                        "Effect": "Allow",
                        "Action": "autoscaling:UpdateAutoScalingGroup",
                        "Resource": f"arn:{args.partition}:autoscaling:{args.region}"
                        f":{args.account_id}:autoScalingGroup:*"
                        f":autoScalingGroupName/{args.group_prefix}*",
                    },
                    {
                        # Who changes a group must be allowed what its launch template does.
                        "Effect": "Allow",
                        "Action": "ec2:RunInstances",
                        "Resource": "*",
                        "Condition": {
                            "ArnLike": {
                                "ec2:LaunchTemplate": f"arn:{args.partition}:ec2:{args.region}"
                                f":{args.account_id}:launch-template/*"
                            }
                        },
                    },
                    {
                        # AWS tells a right to tag which call it is part of, and no launch template.
                        "Effect": "Allow",
                        "Action": "ec2:CreateTags",
                        "Resource": f"arn:{args.partition}:ec2:{args.region}:{args.account_id}:*/*",
                        "Condition": {"StringEquals": {"ec2:CreateAction": "RunInstances"}},
                    },
                )
            ),
            opts=child,
        )
        for follower, group_name in args.group_names.items():
            rule = cloudwatch.EventRule(
                f"{name}-{follower}",
                description=f"No spot capacity for follower {follower}",
                event_pattern=pulumi.Output.json_dumps(
                    {
                        "source": ["aws.autoscaling"],
                        "detail-type": ["EC2 Instance Launch Unsuccessful"],
                        "detail": {"AutoScalingGroupName": [group_name]},
                    }
                ),
                tags=named(f"{name}-{follower}"),
                opts=child,
            )
            cloudwatch.EventTarget(
                f"{name}-{follower}",
                rule=rule.name,
                arn=automation,
                role_arn=role.arn,
                input=pulumi.Output.json_dumps(
                    {"AutomationAssumeRole": [role.arn], "AutoScalingGroupName": [group_name]}
                ),
                opts=child,
            )
        self.register_outputs({})


def spot_fallback(
    name: str, site: AwsSite, followers: Mapping[str, AwsFollower], opts: pulumi.ResourceOptions
) -> None:
    """Make a :class:`SpotFallback` for those of *followers* that are on spot; nothing when none is."""
    on_spot = {
        node: machine.group_name
        for node, machine in followers.items()
        if machine.follower.market == "spot"
    }
    if on_spot:
        SpotFallback(
            f"{name}-{FALLBACK}",
            SpotFallbackArgs(
                group_names=on_spot,
                group_prefix=f"{name}-",
                node_role_path=site.role_path,
                region=site.region.name,
                account_id=site.region.account_id,
                partition=site.region.partition,
            ),
            opts,
        )
