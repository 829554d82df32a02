"""What the roles are needed for: the calls of the agent, recorded, and what AWS's own programs call, as documented.

The agent's requests are recorded where they leave it, by the functions that sign them; which functions do is read from
the source, so one that nothing here calls is found (:func:`unrecorded`).
"""

from __future__ import annotations

import ast
import inspect
import io
import json
import re
import traceback
import urllib.parse
import urllib.request
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from agent import bootstrap
from agent.sites import aws
from agent.sites.bucket_asks import BucketAsks
from components.aws.spot_fallback import DOCUMENT
from tests.harness import ROOT

SESSION_MANAGER = {
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
}
"""docs.aws.amazon.com/systems-manager/latest/userguide/getting-started-create-iam-instance-profile.html, without what
logs in S3 and keys of one's own need."""

RUN_COMMAND = {
    "ec2messages:AcknowledgeMessage",
    "ec2messages:DeleteMessage",
    "ec2messages:FailMessage",
    "ec2messages:GetEndpoint",
    "ec2messages:GetMessages",
    "ec2messages:SendReply",
}
"""docs.aws.amazon.com/systems-manager/latest/userguide/systems-manager-setting-up-messageAPIs.html: the service."""

MOUNT_HELPER = {
    "elasticfilesystem:ClientMount",
    "elasticfilesystem:ClientWrite",
    "elasticfilesystem:ClientRootAccess",
}
"""docs.aws.amazon.com/efs/latest/ug/iam-access-control-nfs-efs.html. The helper needs DescribeMountTargets only if it
has to find an address by itself; agent/folders/efs.py gives it one, or a name that the VPC resolves."""

OWN_KEY = {"kms:Decrypt", "kms:GenerateDataKey"}
"""docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html and
docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html: reading, and writing with a data key."""

LOGGED_SHELLS = {
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "logs:DescribeLogGroups",
    "logs:DescribeLogStreams",
}
"""docs.aws.amazon.com/systems-manager/latest/userguide/getting-started-create-iam-instance-profile.html."""

FLOW_LOGS = {"logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"}
"""docs.aws.amazon.com/vpc/latest/userguide/flow-logs-iam-role.html, without making and listing groups: the program
makes the one that the flow log names."""

SNAPSHOTS = {
    "ec2:CreateSnapshot",
    "ec2:CreateTags",
    "ec2:DeleteSnapshot",
    "ec2:DescribeInstances",
    "ec2:DescribeSnapshots",
    "ec2:DescribeVolumes",
}
"""docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSDataLifecycleManagerServiceRole.html, without what copies
to other regions, archives, snapshots of whole instances, and events of other accounts need."""

LAUNCH_TEMPLATE = {"ec2:RunInstances", "ec2:CreateTags", "iam:PassRole"}
"""docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-launch-template-permissions.html: of whoever changes a
group whose template has tags and a role."""

LEADER_ONLY = {"secretsmanager:PutSecretValue"}
"""agent/phases/secrets.py: the leader fills the secret, followers wait for it."""
FOLLOWERS_ONLY = {"autoscaling:SetInstanceHealth", "s3:ListBucket"}
"""agent/replacement.py: a follower's group replaces it unless too many others ask; the leader has no group."""

AGENT = ROOT / "agent"
SIGNING = ("sites/aws.py", "bootstrap.py")
"""The modules of the agent that sign requests."""
LOWER = {"signed", "_call", "call", "open"}
"""The functions by which they do, from the lowest up."""


@dataclass
class Recording:
    """The requests that left the agent."""

    actions: set[str] = field(default_factory=set)
    """As IAM names them."""
    functions: set[str] = field(default_factory=set)
    """The agent's functions behind them, ``sites/aws.py:Secret.get``."""

    def urlopen(self, asked: urllib.request.Request, **_: Any) -> Any:
        """Stands in for the network."""
        self.actions.add(_action(asked))
        for frame, _line in traceback.walk_stack(inspect.currentframe()):
            path = Path(frame.f_code.co_filename)
            if AGENT in path.parents:
                self.functions.add(f"{path.relative_to(AGENT)}:{frame.f_code.co_qualname}")
        return _Answer(json.dumps({"SecretString": "{}"}).encode())


class _Answer(io.BytesIO):
    headers = Message()


def agent_calls(patch: pytest.MonkeyPatch) -> Recording:
    """Every request that the agent can sign, made once."""
    recording = Recording()
    role = {"AccessKeyId": "key", "SecretAccessKey": "secret", "Token": "token"}
    patch.setattr(bootstrap, "credentials", lambda: role)
    patch.setattr(urllib.request, "urlopen", recording.urlopen)
    patch.delenv("AWS_ENDPOINT_URL", raising=False)
    region = aws.Aws("us-east-1")
    secret = aws.Secret(region, "arn:aws:secretsmanager:us-east-1:123456789012:secret:one")
    calls: tuple[Callable[[], object], ...] = (
        lambda: bootstrap.Bucket("us-east-1", "one").get("key"),
        lambda: bootstrap.Bucket("us-east-1", "one").put("key", b"text"),
        lambda: aws.Bucket(region, "one").get("key"),
        lambda: aws.Bucket(region, "one").get_if_changed("key", "tag"),
        lambda: aws.Bucket(region, "one").put("key", b"text"),
        lambda: aws.open_object(region, "another", "key", "bytes=0-"),
        secret.get,
        lambda: secret.put("text", "token"),
        lambda: BucketAsks(region, aws.Bucket(region, "one")).all(),
        lambda: aws.mark_unhealthy(region, "i-0123456789abcdef0"),
    )
    for call in calls:
        call()
    return recording


def unrecorded(recording: Recording) -> Iterator[str]:
    """Functions of the agent that send a signed request and were not recorded."""
    for path in sorted(AGENT.rglob("*.py")):
        file = path.relative_to(AGENT).as_posix()
        for name in _signing_functions(path.read_text(), lower=file in SIGNING):
            if f"{file}:{name}" not in recording.functions:
                yield f"agent/{file}: {name}"


def needed(recording: Recording, also: Collection[str] = ()) -> dict[str, set[str]]:
    """The actions that each kind of role is for, *also* those that a setting asks for of nodes."""
    node = recording.actions | SESSION_MANAGER | RUN_COMMAND | MOUNT_HELPER | set(also)
    steps = [step["inputs"] for step in json.loads(json.dumps(DOCUMENT))["mainSteps"]]
    automation = {f"{step['Service']}:{step['Api']}" for step in steps}
    return {
        "leader": node - FOLLOWERS_ONLY,
        "follower": node - LEADER_ONLY,
        "flow logs": FLOW_LOGS,
        "backups": SNAPSHOTS,
        # The event's target is an automation, and the document runs with the role.
        "spot fallback": automation | LAUNCH_TEMPLATE | {"ssm:StartAutomationExecution"},
    }


def _action(asked: urllib.request.Request) -> str:
    """The IAM action of a signed request, by the protocol of its service (botocore's models: json, query, rest-xml)."""
    scope = re.search(
        r"Credential=[^/]+/\d+/[\w-]+/([\w-]+)/aws4_request", asked.headers["Authorization"]
    )
    assert scope, asked.full_url
    service = scope[1]
    if target := asked.headers.get("X-amz-target"):
        return f"{service}:{target.rpartition('.')[2]}"
    if service == "s3" and "?list-type=2" in asked.full_url:
        return "s3:ListBucket"
    if service == "s3":
        return {"GET": "s3:GetObject", "PUT": "s3:PutObject"}[asked.get_method()]
    assert isinstance(asked.data, bytes)
    return f"{service}:{urllib.parse.parse_qs(asked.data.decode())['Action'][0]}"


def _signing_functions(source: str, *, lower: bool) -> Iterator[str]:
    """The functions of a module that sign, or hand a service and a method to what does."""
    for owner in ast.parse(source).body:
        inside = owner.body if isinstance(owner, ast.ClassDef) else [owner]
        prefix = f"{owner.name}." if isinstance(owner, ast.ClassDef) else ""
        for each in inside:
            if isinstance(each, ast.FunctionDef):
                calls = [node for node in ast.walk(each) if isinstance(node, ast.Call)]
                if any(_signs(call, lower=lower) for call in calls):
                    yield prefix + each.name


def _signs(call: ast.Call, *, lower: bool) -> bool:
    name = ast.unparse(call.func).rpartition(".")[2]
    methods = {each.value for each in call.args if isinstance(each, ast.Constant)}
    return name == "signed" or (
        name in LOWER and (lower or bool(methods & {"GET", "PUT", "POST", "DELETE", "HEAD"}))
    )
