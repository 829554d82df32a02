"""What moto does not know of a launch: it takes a key that its caller may use, a free address, and a subscription.

The account's default key for volumes is told and set by EC2's own calls, and its use follows from the key's policy and
grants; a subnet's addresses end as on AWS; a file lists the images of the Marketplace that nobody has subscribed to.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moto.autoscaling.models import FakeAutoScalingGroup
from moto.core.responses import ActionResult
from moto.ec2 import ec2_backends
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.subnets import Subnet
from moto.ec2.responses import EC2Response
from moto.kms import kms_backends
from moto.kms.responses import KmsResponse

from .capacity import record

ROLE = "role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
"""Who launches the machines of a group, in ARNs of IAM."""

AWS_MANAGED = "alias/aws/ebs"

NO_KEY = (
    "Instance became unhealthy while waiting for instance to be in InService state. Termination Reason: "
    "Client.InternalError: Client error on launch"
)
"""What AWS says of a machine whose disk's key its launcher may not use."""

NO_ADDRESS = "InsufficientFreeAddressesInSubnet"


def mend(subscriptions: Path) -> None:
    """Let launches fail of keys, addresses and images that *subscriptions* lists; call it once, before moto serves."""
    mend_keys()
    _mend_addresses()
    _mend_subscriptions(subscriptions)
    launch = FakeAutoScalingGroup.replace_autoscaling_group_instances

    @functools.wraps(launch)
    def launch_if_possible(group: Any, count: int, tags: dict[str, str]) -> None:
        backend = group.autoscaling_backend
        if not _may_use_key(backend.account_id, backend.region_name):
            refuse(group, NO_KEY)
            return
        try:
            launch(group, count, tags)
        except EC2ClientError as error:
            if error.code != NO_ADDRESS:
                raise
            refuse(group, f"{error.message} Launching EC2 instance failed.")

    FakeAutoScalingGroup.replace_autoscaling_group_instances = launch_if_possible


def refuse(group: Any, message: str) -> None:
    """Note a failed launch; the group goes on with its next zone."""
    record(group, "Failed", message)
    group.refused_zones += 1


def mend_keys() -> None:
    """EC2's GetEbsDefaultKmsKeyId and ResetEbsDefaultKmsKeyId, and the filter of KMS's ListGrants."""

    def told(request: Any) -> ActionResult:
        return ActionResult({"KmsKeyId": _default_key(request.current_account, request.region)})

    def reset(request: Any) -> ActionResult:
        request.ec2_backend.default_kms_key_id = ""
        return told(request)

    def grants_of(request: Any) -> str:
        wanted = request._get_param("GranteePrincipal")
        answer = json.loads(list_grants(request))
        kept = [each for each in answer["Grants"] if wanted in (None, each["GranteePrincipal"])]
        return json.dumps({**answer, "Grants": kept})

    list_grants = KmsResponse.list_grants
    KmsResponse.list_grants = grants_of
    EC2Response.get_ebs_default_kms_key_id = told
    EC2Response.reset_ebs_default_kms_key_id = reset


def _default_key(account: str, region: str) -> str:
    """The key that was set, or else the alias of AWS's own, of which moto makes a key at the first encrypted volume."""
    named = ec2_backends[account][region].default_kms_key_id
    keys = kms_backends[account][region].keys.values()
    keys_of_aws = {
        key.id for key in keys for alias in key.aliases.values() if alias.alias_name == AWS_MANAGED
    }
    return AWS_MANAGED if named.rpartition("/")[2] in {"", *keys_of_aws} else named


def _may_use_key(account: str, region: str) -> bool:
    """Whether Auto Scaling's role has a grant for the default key, or is named in its policy."""
    named = _default_key(account, region)
    if named == AWS_MANAGED:
        return True
    kms = kms_backends[account][region]
    key = kms.describe_key(named)
    role = f"arn:{ec2_backends[account][region].partition}:iam::{account}:{ROLE}"
    granted = {
        operation
        for each in kms.list_grants(key.id, None)
        if each.grantee_principal == role
        for operation in each.operations
    }
    return "CreateGrant" in granted or role in str(key.policy)


def _mend_addresses() -> None:
    """The end of a subnet's addresses, where moto lets a StopIteration out."""
    taken = Subnet.get_available_subnet_ip

    @functools.wraps(taken)
    def take(subnet: Any, instance: Any) -> str:
        if int(subnet.available_ip_address_count) < 1:
            raise EC2ClientError(
                NO_ADDRESS,
                f"There are not enough free addresses in subnet '{subnet.id}' to satisfy the requested number of "
                "instances.",
            )
        return str(taken(subnet, instance))

    Subnet.get_available_subnet_ip = take


def _mend_subscriptions(file: Path) -> None:
    """RunInstances, the dry one too, of images that the account has not subscribed to."""
    run: Callable[[Any], ActionResult] = EC2Response.run_instances

    @functools.wraps(run)
    def run_subscribed(request: Any) -> ActionResult:
        lacking = json.loads(file.read_text()) if file.exists() else []
        if request._get_param("ImageId") in lacking:
            raise EC2ClientError(
                "OptInRequired",
                "In order to use this AWS Marketplace product you need to accept terms and subscribe. To do so please "
                "visit https://aws.amazon.com/marketplace/pp?sku=0example",
            )
        return run(request)

    EC2Response.run_instances = run_subscribed
