"""Whether machines can be made of an image, and whether its driver runs the release: the answer to each case."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from model.problems import Problem
from model.settings.image import MARKETPLACE_OWNER, REHEARSED
from preflight.image import image
from preflight.situation import Finding, Remark, Unanswered, UnansweredError
from tests.model.examples import SMALLEST, changed
from tests.preflight.situations import situation

IMAGE = "ami-0123456789abcdef0"
DLAMI = "Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 24.04) 20260717"
NOTES = "Supported EC2 instances: G4dn, G5. Release notes: https://aws.amazon.com/releasenotes/x/"
PAST, FUTURE = (
    f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%dT00:00:00.000Z}" for days in (-9, 9)
)


class Aws:
    """EC2 and Systems Manager with one image, behind every parameter but one."""

    def __init__(
        self, *, refused: str = "", launch: tuple[str, str] = ("", ""), **changes: Any
    ) -> None:
        self.calls: list[str] = []
        self.launches: list[dict[str, Any]] = []
        self._launch = launch
        self._refused = refused
        self._image = {
            "ImageId": IMAGE,
            "Name": DLAMI,
            "Description": NOTES,
            "CreationDate": "2026-07-17T01:02:03.000Z",
            "State": "available",
            "Architecture": "x86_64",
            "Tags": [{"Key": "driver", "Value": "595.71.05"}],
            **changes,
        }

    def describe_images(self, **asked: Any) -> dict[str, Any]:
        self.calls.append("describe_images")
        if self._refused:
            raise ClientError({"Error": {"Code": self._refused, "Message": "no"}}, "DescribeImages")
        if "Owners" in asked and asked["Owners"] != [MARKETPLACE_OWNER]:
            return {"Images": []}
        assert asked.get("IncludeDeprecated") or "Owners" in asked
        return {"Images": [self._image] if self._image else []}

    def run_instances(self, **asked: Any) -> dict[str, Any]:
        assert asked["DryRun"] is True
        self.launches.append(asked)
        code, message = self._launch
        raise ClientError({"Error": {"Code": code, "Message": message}}, "RunInstances")

    def get_parameter(self, Name: str) -> dict[str, Any]:  # noqa: N803 the name is botocore's
        self.calls.append("get_parameter")
        if Name == "/gone":
            code = {"Error": {"Code": "ParameterNotFound", "Message": "no"}}
            raise ClientError(code, "GetParameter")
        return {"Parameter": {"Value": IMAGE}}


LOCKED = {"lock": {"us-east-1": {"id": IMAGE}}}


def found(aws: Aws, **keys: Any) -> tuple[Finding, ...]:
    """What the check finds; keys are of the stack file, dots spelled as __."""
    raw = changed(SMALLEST, {key.replace("__", "."): value for key, value in keys.items()})
    return image(situation(raw, client=aws))


def told(aws: Aws, **keys: Any) -> list[tuple[str, str]]:
    """Path and text of each problem."""
    return [(each.path, str(each)) for each in found(aws, **keys) if isinstance(each, Problem)]


def remarked(aws: Aws, **keys: Any) -> str:
    """What it has to say beside problems, of which there are none."""
    remarks = [each for each in found(aws, **keys) if isinstance(each, Remark)]
    assert len(remarks) == len(found(aws, **keys))
    return ". ".join(each.text for each in remarks)


@pytest.mark.parametrize("keys", [{}, LOCKED, {"id": IMAGE}, {"marketplace": True}])
def test_an_image_that_fits_is_no_problem_whoever_names_it(keys: dict[str, Any]) -> None:
    aws = Aws()
    assert told(aws, image=keys) == []
    assert len(aws.calls) <= 2


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ({}, "image.ssmParameter"),
        (LOCKED, "image.lock.us-east-1.id"),
        ({"id": IMAGE}, "image.id"),
    ],
)
@pytest.mark.parametrize(
    "refused", ["InvalidAMIID.NotFound", "InvalidAMIID.Unavailable", "AuthFailure"]
)
def test_an_image_that_is_gone_or_not_shared_is_told_with_what_to_type(
    keys: dict[str, Any], path: str, refused: str
) -> None:
    ((where, text),) = told(Aws(refused=refused), image=keys)
    assert where == path
    assert IMAGE in text
    assert "not shared" in text
    assert "`./cluster image-refresh prod`" in text


def test_the_lock_of_another_region_is_not_this_ones() -> None:
    aws = Aws()
    assert told(aws, image={"lock": {"eu-west-1": {"id": "ami-00000000000000009"}}}) == []
    assert "get_parameter" in aws.calls


def test_a_parameter_that_does_not_exist_is_told() -> None:
    ((path, text),) = told(Aws(), image={"ssmParameter": "/gone"})
    assert path == "image.ssmParameter"
    assert '"/gone"' in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"State": "disabled"}, "which is disabled"),
        ({"Architecture": "arm64"}, "which is for arm64"),
    ],
)
def test_an_image_of_which_no_node_can_be_made_is_told(changes: dict[str, Any], words: str) -> None:
    ((_, text),) = told(Aws(**changes), image=LOCKED)
    assert words in text


@pytest.mark.parametrize(
    ("driver", "cuda", "fits"),
    [
        ("575.57.08", "12", True),
        ("550.144.03", "12", False),
        ("580.126.20", "13", False),
        ("590.48.01", "13", True),
    ],
)
def test_the_driver_is_compared_with_the_releases_cuda(
    driver: str, cuda: str, *, fits: bool
) -> None:
    release = {"version": "2.50.1", "cuda": cuda}
    lock = {"lock": {"us-east-1": {"id": IMAGE, "driver": driver}}}
    problems = told(Aws(), image=lock, release=release)
    assert (problems == []) is fits
    if not fits:
        ((_, text),) = problems
        assert driver in text
        assert ('set release.cuda to "12"' in text) is (cuda == "13")


def test_a_driver_in_the_description_of_an_own_image_is_read() -> None:
    aws = Aws(Tags=[], Description="Ubuntu 24.04, NVIDIA driver 550.144.03, CUDA 12.4")
    ((_, text),) = told(aws, image={"id": IMAGE})
    assert "550.144.03" in text


def test_an_unknown_driver_is_remarked_in_one_line() -> None:
    said = remarked(Aws(Tags=[]), image=LOCKED)
    assert said.startswith("nobody says which NVIDIA driver is in it")
    assert "`./cluster image-refresh prod --driver …`" in said
    assert len(said) <= 111  # columns of a table without a terminal that are left for it


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (
            {},
            "a stand-in, as every image of the sandbox; `./cluster image-refresh` is for an account",
        ),
        (LOCKED, f"a stand-in; whether {IMAGE} exists is not looked at in a rehearsal"),
        ({"id": IMAGE}, f"a stand-in; whether {IMAGE} exists is not looked at in a rehearsal"),
    ],
)
def test_a_stand_in_is_named_so_and_nothing_is_advised_that_means_nothing_there(
    keys: dict[str, Any], words: str
) -> None:
    assert remarked(Aws(Tags=[], Description=REHEARSED), image=keys) == words


def test_followers_of_another_stack_do_not_know_the_release() -> None:
    raw = {
        "gpuProfiles": SMALLEST["gpuProfiles"],
        "leaderStack": "organization/graphistry-cluster/prod",
        "image": {"marketplace": True},
    }
    with pytest.raises(UnansweredError, match="in the leader's stack"):
        image(situation(raw, client=Aws()))
    assert image(situation({**raw, "image": LOCKED}, client=Aws(Tags=[]))) == ()


def test_a_missing_right_is_said_by_its_name() -> None:
    with pytest.raises(UnansweredError, match="ec2:DescribeImages"):
        told(Aws(refused="UnauthorizedOperation"), image=LOCKED)


@pytest.mark.parametrize(("day", "is_said"), [(PAST, True), (FUTURE, False), (None, False)])
def test_a_deprecated_image_is_told_and_no_problem(day: str | None, *, is_said: bool) -> None:
    assert ("is deprecated since" in remarked(Aws(DeprecationTime=day), image=LOCKED)) is is_said


SOLD = [{"ProductCodeId": "8fvdn95s5ev33cprr62nq3q7t", "ProductCodeType": "marketplace"}]
TERMS = (
    "In order to use this AWS Marketplace product you need to accept terms and subscribe. To do so please visit "
    "https://aws.amazon.com/marketplace/pp?sku=8fvdn95s5ev33cprr62nq3q7t"
)
"""What EC2 answers in a real account (StreisandEffect/streisand#86)."""


@pytest.mark.parametrize("keys", [{"marketplace": True}, LOCKED, {"id": IMAGE}])
def test_an_image_that_is_sold_needs_a_subscription_whoever_names_it(keys: dict[str, Any]) -> None:
    aws = Aws(launch=("OptInRequired", TERMS), ProductCodes=SOLD)
    ((_, text),) = told(aws, image=keys)
    assert (
        f"{IMAGE}, an image of the AWS Marketplace that this account has not subscribed to" in text
    )
    assert "https://aws.amazon.com/marketplace/pp?sku=8fvdn95s5ev33cprr62nq3q7t; " in text
    (launch,) = aws.launches
    assert (launch["ImageId"], launch["InstanceType"]) == (IMAGE, "g4dn.2xlarge")


def test_a_subscription_is_seen_without_a_launch() -> None:
    assert found(Aws(launch=("DryRunOperation", ""), ProductCodes=SOLD), image=LOCKED) == ()


def test_an_image_that_is_not_sold_is_not_asked_about() -> None:
    aws = Aws(launch=("OptInRequired", TERMS), ProductCodes=[{"ProductCodeType": "devpay"}])
    assert found(aws, image=LOCKED) == ()
    assert aws.launches == []


@pytest.mark.parametrize(
    ("code", "message", "words"),
    [
        (
            "UnauthorizedOperation",
            "You are not authorized to perform this operation.",
            "RunInstances is missing",
        ),
        ("VPCIdNotSpecified", "No default VPC for this user", "No default VPC"),
    ],
)
def test_what_ec2_does_not_say_of_a_subscription_is_not_guessed(
    code: str, message: str, words: str
) -> None:
    (unknown,) = found(Aws(launch=(code, message), ProductCodes=SOLD), image=LOCKED)
    assert isinstance(unknown, Unanswered)
    assert words in unknown.text
    assert IMAGE in unknown.text


def test_an_ubuntu_without_a_named_mount_helper_is_remarked() -> None:
    helper = {"source": "s3://packages/amazon-efs-utils.deb", "sha256": "0" * 64}
    (remark,) = found(Aws())
    assert "image.mountHelper" in str(remark)
    assert found(Aws(), image={"mountHelper": helper}) == ()
