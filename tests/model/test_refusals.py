"""Messages of AWS, as users quote them, and what each is taken for."""

from __future__ import annotations

import re

import pytest

from model.refusals import REASONS, Helps, named_code, reason_of

FAILED = " Launching EC2 instance failed."
IN_GROUP = "Could not launch On-Demand Instances. "

SAID = [
    # eksctl and terraform: bare words of a group with one type, code and words of one with several
    (
        "We currently do not have sufficient p3dn.24xlarge capacity in the Availability Zone you requested"
        " (us-west-2c). Our system will be working on provisioning additional capacity." + FAILED,
        "InsufficientInstanceCapacity",
        Helps.ZONE,
    ),
    (
        IN_GROUP
        + "InsufficientInstanceCapacity - We currently do not have sufficient t3.xlarge capacity in the"
        " Availability Zone you requested (us-west-1c)." + FAILED,
        "InsufficientInstanceCapacity",
        Helps.ZONE,
    ),
    (
        "Could not launch Spot Instances. UnfulfillableCapacity - Unable to fulfill capacity due to your request"
        " configuration. Please adjust your request and try again." + FAILED,
        "UnfulfillableCapacity",
        Helps.ZONE,
    ),
    (
        "There is no Spot capacity available that matches your request." + FAILED,
        "UnfulfillableCapacity",
        Helps.ZONE,
    ),
    (
        "There are not enough free addresses in subnet 'subnet-12345678' to satisfy the requested number of instances."
        + FAILED,
        "InsufficientFreeAddressesInSubnet",
        Helps.ZONE,
    ),
    (
        "Your Spot request price of 0.001 is lower than the minimum required Spot request fulfillment price of 0.0031."
        + FAILED,
        "SpotMaxPriceTooLow",
        Helps.ZONE,
    ),
    (
        "The requested configuration is currently not supported. Please check the documentation for supported"
        " configurations." + FAILED,
        "Unsupported",
        Helps.ZONE,
    ),
    (
        "Could not launch Spot Instances. InvalidFleetConfiguration - Your requested instance type (p3.8xlarge) is not"
        " supported in your requested Availability Zone (us-east-2c)." + FAILED,
        "InvalidFleetConfiguration",
        Helps.ZONE,
    ),
    (
        "Your requested instance type (p5.48xlarge) is not supported in your requested Availability Zone (us-east-1e)."
        + FAILED,
        "Unsupported",
        Helps.ZONE,
    ),
    (
        IN_GROUP
        + "VcpuLimitExceeded - You have requested more vCPU capacity than your current vCPU limit of 0 allows"
        " for the instance bucket that the specified instance type belongs to." + FAILED,
        "VcpuLimitExceeded",
        Helps.TYPE,
    ),
    (
        "You have requested more instances (7) than your current instance limit of 6 allows for the specified instance"
        " type." + FAILED,
        "InstanceLimitExceeded",
        Helps.TYPE,
    ),
    ("Max spot instance count exceeded." + FAILED, "MaxSpotInstanceCountExceeded", Helps.TYPE),
    (
        "You've reached your quota for maximum Fleet Requests for this account." + FAILED,
        "MaxFleetCountExceeded",
        Helps.HINT,
    ),
    (
        IN_GROUP
        + "InvalidParameterCombination - The specified instance type is not eligible for Free Tier. For a list"
        " of Free Tier instance types, run 'describe-instance-types'." + FAILED,
        "InvalidParameterCombination",
        Helps.HINT,
    ),
    (
        "You must use a valid fully-formed launch template. Value (scaling-group-profile) for parameter"
        " iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
        "InvalidParameterValue",
        Helps.TIME,
    ),
    (
        IN_GROUP
        + "InvalidParameterValue - Value (graphistry-family) for parameter iamInstanceProfile.name is invalid."
        " Invalid IAM Instance Profile name." + FAILED,
        "InvalidParameterValue",
        Helps.TIME,
    ),
    ("Authentication Failure." + FAILED, "AuthFailure", Helps.TIME),
    ("api error AuthFailure: Not authorized for images: [ami-123]", "AuthFailure", Helps.HINT),
    (
        "Your account is currently being verified. Verification normally takes less than 2 hours."
        + FAILED,
        "PendingVerification",
        Helps.TIME,
    ),
    (
        "Error launching source instance: PendingVerification: Your request for accessing resources in this region is"
        " being validated, and you will not be able to launch additional resources in this region until the validation"
        " is complete.",
        "PendingVerification",
        Helps.TIME,
    ),
    (
        "This account is currently blocked and not recognized as a valid account." + FAILED,
        "Blocked",
        Helps.HINT,
    ),
    (
        "Error: creating EC2 Instance: OptInRequired: In order to use this AWS Marketplace product you need to accept"
        " terms and subscribe. To do so please visit https://aws.amazon.com/marketplace/pp?sku=xyz",
        "OptInRequired",
        Helps.HINT,
    ),
    (
        "You are not authorized to perform this operation. Encoded authorization failure message: JUmMphVKvdVLB83Wor."
        + FAILED,
        "UnauthorizedOperation",
        Helps.HINT,
    ),
    (
        "Instance became unhealthy while waiting for instance to be in InService state. Termination Reason:"
        " Client.InternalError: Client error on launch",
        "Client.InternalError",
        Helps.HINT,
    ),
    (
        "Instance became unhealthy while waiting for instance to be in InService state. Termination Reason:"
        " Server.InternalError: Internal error on launch",
        "InternalError",
        Helps.TIME,
    ),
    (
        IN_GROUP
        + "InvalidAMIID.NotFound - The image id '[ami-02c7e84c65fcfecee]' does not exist."
        + FAILED,
        "InvalidAMIID.NotFound",
        Helps.HINT,
    ),
    ("The security group 'sg-0123' does not exist." + FAILED, "InvalidGroup.NotFound", Helps.HINT),
    (
        "The requested reservation does not have sufficient compatible and available capacity for this request."
        + FAILED,
        "ReservationCapacityExceeded",
        Helps.HINT,
    ),
    ("Request limit exceeded." + FAILED, "RequestLimitExceeded", Helps.TIME),
    (
        "error: operation error EC2: RunInstances, https response error StatusCode: 503, RequestID: 1-2, api error"
        " RequestLimitExceeded: Request limit exceeded.",
        "RequestLimitExceeded",
        Helps.TIME,
    ),
    (
        "CreateCapacityReservation: InsufficientInstanceCapacity: no more of them",
        "InsufficientInstanceCapacity",
        Helps.ZONE,
    ),
]


@pytest.mark.parametrize(("message", "code", "helps"), SAID)
def test_a_message_of_aws_is_taken_for_what_it_is(message: str, code: str, helps: Helps) -> None:
    reason = reason_of(message)
    assert reason is not None
    assert (reason.code, reason.helps) == (code, helps)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("The family of this ami lacks sufficient capacity limit; spot count not supported", None),
        (IN_GROUP + "SomethingNew - The image of the family is not here.", "SomethingNew"),
        (
            IN_GROUP + "InvalidParameterValue - Value (x) for parameter groupId",
            "InvalidParameterValue",
        ),
        (
            "api error InsufficientInstanceCapacityOfAnotherKind: no",
            "InsufficientInstanceCapacityOfAnotherKind",
        ),
        ("Your Capacity Block reservation cr-1 is not active yet." + FAILED, None),
    ],
)
def test_what_is_not_known_is_not_guessed(message: str, code: str | None) -> None:
    assert named_code(message) == code
    assert reason_of(message) is None


def test_every_reason_is_there_once_and_its_words_are_expressions() -> None:
    assert len({(each.code, each.words) for each in REASONS}) == len(REASONS)
    for each in REASONS:
        re.compile(each.words)
        assert each.words or not each.generic
