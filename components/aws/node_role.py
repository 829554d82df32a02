"""What one node may do: its own documents, the cluster's secret and shared folder, Systems Manager. No more."""

import json
from dataclasses import dataclass

import pulumi
from pulumi_aws import iam

from components.aws.policies import assumable_by, policy
from components.aws.shared_folder import CLIENT_ACTIONS, SharedFolderReference
from components.aws.site import AwsSite
from model.specification import NODES, replacement_key, report_key, specification_key
from model.tags import CLUSTER_TAG, named

SYSTEMS_MANAGER_ACTIONS = (
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
    "ec2messages:AcknowledgeMessage",
    "ec2messages:DeleteMessage",
    "ec2messages:FailMessage",
    "ec2messages:GetEndpoint",
    "ec2messages:GetMessages",
    "ec2messages:SendReply",
)
"""What the SSM agent calls for Session Manager and Run Command (AWS: custom IAM role for Session Manager; message
operations of Systems Manager). AmazonSSMManagedInstanceCore also lets a node read every parameter of the account."""


@dataclass(frozen=True, kw_only=True)
class NodeRoleArgs:
    """Inputs of :func:`node_role`. The site's role path replaces the role; the rest changes in place."""

    node: str
    """Name of the node in the cluster: ``leader``, or a key of ``followers``."""

    leaders_secret_arn: pulumi.Output[str] | None
    """The leader's secret, which it alone reads, and fills with the followers'; None for a follower."""

    site: AwsSite
    """Bucket, followers' secret, secret variables and release that the node reads."""

    shared_folder: SharedFolderReference
    """File system that the node mounts."""


@dataclass(frozen=True, kw_only=True)
class NodeProfile:
    """The instance profile of a node. Known once the policy is attached, so no machine boots without it."""

    name: pulumi.Output[str]
    """Name of the instance profile."""

    arn: pulumi.Output[str]
    """ARN of the instance profile."""

    role_arn: pulumi.Output[str]
    """ARN of the node's role."""


def node_role(name: str, args: NodeRoleArgs, opts: pulumi.ResourceOptions) -> NodeProfile:
    """Make a node's role, its inline policy and its profile.

    A function and no component: the engine writes its state at every registration, and components that only group
    would be a third of a follower's (docs/explanation/measurements.md).
    """
    role = iam.Role(
        role_name(name),
        path=args.site.role_path,
        description=f"Graphistry node {args.node}",
        assume_role_policy=assumable_by("ec2"),
        tags=named(role_name(name)),
        opts=opts,
    )
    inline = iam.RolePolicy(
        role_name(name),
        role=role.name,
        policy=pulumi.Output.all(
            args.site.bucket_arn,
            args.shared_folder.arn,
            args.site.sessions.log_group_arn if args.site.sessions else "",
            args.site.secret_env.arn if args.site.secret_env else "",
            args.site.followers_secret_arn,
            *([args.leaders_secret_arn] if args.leaders_secret_arn else []),
        ).apply(lambda arns: json.dumps(_policy(name, args, *arns))),
        opts=opts,
    )
    profile = iam.InstanceProfile(
        f"{name}-profile",
        path=args.site.role_path,
        role=role.name,
        tags=named(f"{name}-profile"),
        opts=opts,
    )
    attached = pulumi.Output.all(profile.name, profile.arn, inline.id)
    return NodeProfile(
        name=attached.apply(lambda known: str(known[0])),
        arn=attached.apply(lambda known: str(known[1])),
        role_arn=role.arn,
    )


def role_name(name: str) -> str:
    """What the role of the node *name* is called, and Pulumi makes its physical name of."""
    return f"{name}-role"


def _policy(
    name: str,
    args: NodeRoleArgs,
    bucket_arn: str,
    file_system_arn: str,
    session_log_arn: str,
    secret_env_arn: str,
    *secret_arns: str,
) -> dict[str, object]:
    readable = [f"{bucket_arn}/{specification_key(args.node)}", f"{bucket_arn}/agent/*"]
    helper = args.site.mount_helper
    readable += [
        f"arn:{args.site.region.partition}:s3:::{source.removeprefix('s3://')}"
        for source in (args.site.release.source, helper.source if helper else "")
        if source.startswith("s3://")
    ]
    secret_actions = ["secretsmanager:GetSecretValue"]
    is_leader = args.leaders_secret_arn is not None
    if is_leader:
        # Until it is ready: see :func:`components.aws.leader.AwsLeader.converge`.
        secret_actions.append("secretsmanager:PutSecretValue")
    statements = {
        "ReadSpecification": (["s3:GetObject"], readable),
        "WriteReport": (["s3:PutObject"], [f"{bucket_arn}/{report_key(args.node)}"]),
        "ClusterSecret": (secret_actions, list(secret_arns)),
        **(
            {"SecretVariables": (["secretsmanager:GetSecretValue"], [secret_env_arn])}
            if secret_env_arn
            else {}
        ),
        "SharedFolder": (list(CLIENT_ACTIONS), [file_system_arn]),
        "SystemsManager": (list(SYSTEMS_MANAGER_ACTIONS), ["*"]),
    }
    return policy(
        *(
            {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}
            for sid, (actions, resources) in statements.items()
        ),
        *_decryption(args.site),
        *_session_log(session_log_arn),
        *(_replacement(name, args, bucket_arn) if not is_leader else []),
    )


def _decryption(site: AwsSite) -> list[dict[str, object]]:
    """What objects and secrets under a key of the customer's own need, through their services alone."""
    if not site.readable_keys:
        return []
    domain = "amazonaws.com.cn" if site.region.partition == "aws-cn" else "amazonaws.com"
    services = [f"{service}.{site.region.name}.{domain}" for service in ("s3", "secretsmanager")]
    return [
        {
            "Sid": "EncryptionKey",
            "Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
            "Resource": list(site.readable_keys),
            "Condition": {"StringEquals": {"kms:ViaService": services}},
        }
    ]


def _session_log(log_group_arn: str) -> list[dict[str, object]]:
    """What the SSM agent does to write a session down, and to see before whether the log is encrypted."""
    if not log_group_arn:
        return []
    streams = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
    return [
        {
            "Sid": "SessionLog",
            "Effect": "Allow",
            "Action": streams,
            "Resource": [f"{log_group_arn}:*"],
        },
        {
            "Sid": "FindSessionLog",
            "Effect": "Allow",
            "Action": ["logs:DescribeLogGroups"],
            "Resource": ["*"],  # AWS knows no resources of it
        },
    ]


def _replacement(name: str, args: NodeRoleArgs, bucket_arn: str) -> list[dict[str, object]]:
    """What a machine that cannot be repaired needs to be replaced by its own group, found by its tags.

    Before that it looks whether others of the cluster's followers ask too: at names of nodes, and at their wishes.
    """
    site, region = args.site, args.site.region
    # The stack's own tag, as the group has it: of a stack of followers, the site's cluster is the leader's.
    tags = {**named(f"{name}-group"), CLUSTER_TAG: site.tags[CLUSTER_TAG]}
    replace: dict[str, object] = {
        "Sid": "ReplaceMe",
        "Effect": "Allow",
        "Action": ["autoscaling:SetInstanceHealth"],
        "Resource": [
            f"arn:{region.partition}:autoscaling:{region.name}:{region.account_id}:autoScalingGroup:*"
        ],
        "Condition": {
            "StringEquals": {f"autoscaling:ResourceTag/{key}": value for key, value in tags.items()}
        },
    }
    return [
        replace,
        {
            "Sid": "NamesOfNodes",
            "Effect": "Allow",
            "Action": ["s3:ListBucket"],
            "Resource": [bucket_arn],
            "Condition": {"StringLike": {"s3:prefix": [f"{NODES}*"]}},
        },
        {
            "Sid": "WishesForReplacement",
            "Effect": "Allow",
            "Action": ["s3:GetObject"],
            "Resource": [f"{bucket_arn}/{replacement_key('*')}"],
        },
        {
            "Sid": "OwnWishForReplacement",
            "Effect": "Allow",
            "Action": ["s3:PutObject"],
            "Resource": [f"{bucket_arn}/{replacement_key(args.node)}"],
        },
    ]
