"""What AWS says when it refuses: its codes, the words by which it says them without a code, and what to do.

Sources: EC2's error codes (API Reference, "Error codes for the Amazon EC2 API"), the messages of Auto Scaling's
activities (User Guide, "Troubleshoot: EC2 instance launch failures") and activities that users of eksctl, kops,
ParallelCluster and Karpenter quote. What is not in the table is shown as AWS says it, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

DENIED = re.compile(r"\b(?:AccessDenied|Unauthorized|AuthorizationError)\w*")
"""The codes by which AWS denies a call."""

_RIGHT = re.compile(r"perform: ([\w-]+:\w+)")


def missing_right(message: str) -> str | None:
    """The right that a message of AWS names, ``ec2:DescribeVpcs``; None where it names none."""
    named = _RIGHT.search(message)
    return named.group(1) if named else None


class Helps(StrEnum):
    """What can help after a refused launch."""

    TIME = "time"
    """The same again: AWS tries by itself."""
    ZONE = "another zone"
    """AWS tries the others of the group by itself."""
    TYPE = "another type"
    """One that the profile does not list; AWS has tried those that it does."""
    HINT = "what the hint says"
    """Nothing that AWS does by itself."""


@dataclass(frozen=True, kw_only=True)
class Reason:
    """A reason for which AWS refuses."""

    code: str
    """AWS's name of it."""
    helps: Helps
    hint: str
    words: str = ""
    """Expression that finds it in a message without a code; empty where no message of the kind is known."""
    generic: bool = False
    """Whether AWS uses the code for other reasons too, so that the words decide."""


_QUOTA = (
    "the account's quota is used up: request a higher one (`./cluster quota-request`; Service Quotas, EC2, Running "
    "On-Demand or All Spot Instance Requests of the family), or remove a node"
)
_IMAGE = "the image is gone or not yours to use: `./cluster image-refresh` locks another"
_REPAIR = "somebody deleted it: `./cluster up` makes it again"
_KEY = (
    "the machine's disk is encrypted with a KMS key that Auto Scaling may not use, or that is disabled: let its role "
    "AWSServiceRoleForAutoScaling use the key, in the key's policy (it is the account's default of EBS, or the image's)"
)
_SIGN_IN = "the credentials ended meanwhile: sign in again, the same command goes on"
_BUSY = "AWS is busy: the same command later goes on from here"

REASONS: tuple[Reason, ...] = (
    Reason(
        code="ReservationCapacityExceeded",
        helps=Helps.HINT,
        hint="the reservation is full: enlarge it, or take capacityReservation out",
        words=r"requested reservation does not have sufficient compatible",
    ),
    Reason(
        code="UnfulfillableCapacity",
        helps=Helps.ZONE,
        hint="AWS has no such spot machine free in these zones now: add instance types to the profile, or zones to the "
        "network, or set market to on-demand",
        words=r"Unable to fulfill capacity due to your request|no Spot capacity available",
    ),
    Reason(
        code="InsufficientInstanceCapacity",
        helps=Helps.ZONE,
        hint="AWS has no such machine free in these zones now: add instance types to the profile, or zones to the "
        "network; a capacity reservation makes sure",
        words=r"do not have sufficient (?:\S+ )?capacity|not currently have enough available .*capacity",
    ),
    Reason(
        code="InsufficientFreeAddressesInSubnet",
        helps=Helps.ZONE,
        hint="the subnet has no free address: release some in it, or add a zone to the network",
        words=r"not enough free addresses in subnet",
    ),
    Reason(
        code="SpotMaxPriceTooLow",
        helps=Helps.ZONE,
        hint="spot costs more than on-demand here now: set market to on-demand, or add instance types to the profile",
        words=r"lower than the minimum required Spot request fulfillment price",
    ),
    Reason(
        code="Unsupported",
        helps=Helps.ZONE,
        hint="the zone does not offer the type, or the image does not run on it",
        words=r"requested configuration is currently not supported|instance type \(\S+\) is not supported in your",
    ),
    Reason(
        code="InvalidFleetConfiguration",
        helps=Helps.ZONE,
        hint="the zone does not offer the type: add another type to the profile, or another zone",
        words=r"instance type \(\S+\) is not supported in your",
        generic=True,
    ),
    Reason(
        code="VcpuLimitExceeded",
        helps=Helps.TYPE,
        hint=_QUOTA,
        words=r"more vCPU capacity than your current vCPU limit",
    ),
    Reason(
        code="InstanceLimitExceeded",
        helps=Helps.TYPE,
        hint=_QUOTA,
        words=r"more instances \(\d+\) than your current instance limit",
    ),
    Reason(
        code="MaxSpotInstanceCountExceeded",
        helps=Helps.TYPE,
        hint="the account's spot quota is used up: request a higher one, or set market to on-demand",
        words=r"Max spot instance count exceeded",
    ),
    Reason(
        code="MaxFleetCountExceeded",
        helps=Helps.HINT,
        hint="AWS lets this account make no fleet yet, which is how a group launches: new accounts ask AWS's support "
        "to lift that (Support, Service limit increase, EC2 Fleet)",
        words=r"quota for maximum Fleet Requests",
    ),
    Reason(
        code="InvalidParameterCombination",
        helps=Helps.HINT,
        hint="the account is on AWS's free plan, which launches no GPU machines: upgrade it (Billing, Account plan)",
        words=r"not eligible for Free Tier",
        generic=True,
    ),
    Reason(
        code="InvalidParameterValue",
        helps=Helps.TIME,
        hint="EC2 does not know the node's instance profile yet, which is new; if it stays so somebody deleted it, and "
        "`./cluster up` makes it again",
        words=r"Invalid IAM Instance Profile",
        generic=True,
    ),
    Reason(
        code="AuthFailure",
        helps=Helps.HINT,
        hint=_IMAGE,
        words=r"Not authorized for images?",
        generic=True,
    ),
    Reason(
        code="AuthFailure",
        helps=Helps.TIME,
        hint="the role of Auto Scaling is new in this account and not known everywhere yet; AWS tries again",
        words=r"^Authentication Failure\b",
        generic=True,
    ),
    Reason(
        code="AuthFailure.ServiceLinkedRoleCreationNotPermitted",
        helps=Helps.HINT,
        hint="make spot's role once: aws iam create-service-linked-role --aws-service-name spot.amazonaws.com",
        words=r"permission to create the service-linked role for EC2 Spot",
    ),
    Reason(
        code="PendingVerification",
        helps=Helps.TIME,
        hint="AWS verifies the account, or its first use of this region: minutes, at most four hours, then it writes a "
        "mail; the group goes on trying, `./cluster up` waits on",
        words=r"account is currently being verified|region is being validated",
    ),
    Reason(
        code="Blocked",
        helps=Helps.HINT,
        hint="AWS has blocked the account: its support says why (Support, Account and billing)",
        words=r"account is currently blocked",
    ),
    Reason(
        code="OptInRequired",
        helps=Helps.HINT,
        hint="the account must subscribe to the image first: AWS Marketplace, the image's page",
        words=r"need to accept terms and subscribe|You are not subscribed to this service",
    ),
    Reason(
        code="UnauthorizedOperation",
        helps=Helps.HINT,
        hint="a policy denies the launch, often one of the organization: "
        "aws sts decode-authorization-message --encoded-message … says which",
        words=r"You are not authorized to perform this operation",
    ),
    Reason(
        code="Client.InternalError", helps=Helps.HINT, hint=_KEY, words=r"Client error on launch"
    ),
    Reason(
        code="Client.InvalidKMSKey.InvalidState",
        helps=Helps.HINT,
        hint=_KEY,
        words=r"KMS key provided is in an incorrect state",
    ),
    Reason(
        code="InvalidAMIID.NotFound",
        helps=Helps.HINT,
        hint=_IMAGE,
        words=r"The image id '\[?ami-\w+\]?' does not exist",
    ),
    Reason(code="InvalidAMIID.Unavailable", helps=Helps.HINT, hint=_IMAGE),
    Reason(code="InvalidAMIID.Malformed", helps=Helps.HINT, hint=_IMAGE),
    Reason(
        code="InvalidGroup.NotFound",
        helps=Helps.HINT,
        hint=_REPAIR,
        words=r"The security group '?[\w-]+'? does not exist",
    ),
    Reason(
        code="InvalidSubnetID.NotFound",
        helps=Helps.HINT,
        hint=_REPAIR,
        words=r"The subnet ID '?[\w-]+'? does not exist",
    ),
    Reason(
        code="InvalidCapacityReservationId.NotFound",
        helps=Helps.HINT,
        hint="the reservation that the stack file names is gone: name another, or take capacityReservation out",
        words=r"capacity reservation '?[\w-]+'? does not exist",
    ),
    Reason(
        code="VolumeLimitExceeded",
        helps=Helps.HINT,
        hint="the account's disks are as many or as large as its quota: request a higher one (Service Quotas, Amazon "
        "EBS), or remove some",
        words=r"[Vv]olume limit exceeded",
    ),
    Reason(
        code="RequestLimitExceeded",
        helps=Helps.TIME,
        hint=_BUSY,
        words=r"^Request limit exceeded",
    ),
    Reason(code="Throttling", helps=Helps.TIME, hint=_BUSY, words=r"^Rate exceeded"),
    Reason(
        code="InternalError",
        helps=Helps.TIME,
        hint="AWS failed inside: the same command later goes on from here",
        words=r"[Ii]nternal error (?:has )?(?:occurred|on launch)",
    ),
    Reason(
        code="VpcLimitExceeded",
        helps=Helps.HINT,
        hint="the region has as many VPCs as its quota: request a higher one (Service Quotas, Amazon VPC), remove one, "
        "or name one in network.vpcId",
    ),
    Reason(
        code="AddressLimitExceeded",
        helps=Helps.HINT,
        hint="the region has as many Elastic IP addresses as its quota: request a higher one (Service Quotas, Amazon "
        'EC2), release one, or set network.natGateways to "single"',
    ),
    Reason(
        code="NatGatewayLimitExceeded",
        helps=Helps.HINT,
        hint="the zone has as many NAT gateways as its quota: request a higher one (Service Quotas, Amazon VPC), or "
        "remove one",
    ),
    Reason(code="ExpiredToken", helps=Helps.HINT, hint=_SIGN_IN),
    Reason(code="RequestExpired", helps=Helps.HINT, hint=_SIGN_IN),
)
"""Every reason that is known; where several have words that fit, the first."""

_NAMED = (
    # An activity of a group with several types; one of a machine that ended at its start; the provider's errors.
    re.compile(r"could not launch (?:spot|on-demand) instances\. ([\w.]+) - ", re.IGNORECASE),
    re.compile(r"Termination Reason: ([\w.]+): "),
    re.compile(r"\bapi error ([\w.]+): "),
    re.compile(r"\b([A-Z]\w+(?:\.[A-Z]\w+)*): "),
)
"""Where a message names AWS's code."""

_SAME = {
    "Server.InternalError": "InternalError",
    "Client.VolumeLimitExceeded": "VolumeLimitExceeded",
}
"""How the state of a machine names what a call names otherwise."""


def named_code(message: str) -> str | None:
    """The code that a *message* of AWS names, known or not; None for a message of words alone."""
    for where in _NAMED[:-1]:
        if found := where.search(message):
            return _SAME.get(found[1], found[1])
    known = {reason.code for reason in REASONS}
    return next((each for each in _NAMED[-1].findall(message) if each in known), None)


def reason_of(message: str) -> Reason | None:
    """What a *message* of AWS is about: by its code, and by its words alone if it has no code; None if unknown."""
    code = named_code(message)
    if code is None:
        return _worded(message, REASONS)
    same = [reason for reason in REASONS if reason.code == code]
    return next((each for each in same if not each.generic), None) or _worded(message, same)


def _worded(message: str, among: Iterable[Reason]) -> Reason | None:
    return next((each for each in among if each.words and re.search(each.words, message)), None)
