"""Checkov's AWS checks over the resources of every stack file on AWS, as if Terraform had planned them."""

from __future__ import annotations

import pytest

from tests.components.test_contracts import ON_HOSTS, STACKS
from tests.policy.changes import MISSING, Change, inputs, nested, registrations, statement
from tests.policy.checkov import SKIPS_FILE, Scan, scan, skips
from tests.policy.terraform_plan import terraform_plan

STACKS_ON_AWS = [stack for stack in STACKS if stack not in ON_HOSTS]

MISTAKES: list[tuple[str, str, Change, str]] = [
    (
        "SecurityGroupIngressRule",
        "leader-http",
        inputs(fromPort=22, toPort=22, cidrIpv4="0.0.0.0/0"),
        "CKV_AWS_24",
    ),
    ("SecurityGroupIngressRule", "leader-https", inputs(description=None), "CKV_AWS_23"),
    ("Volume", "leader-data", inputs(encrypted=None), "CKV_AWS_3"),
    ("FileSystem", "shared-folder", inputs(encrypted=False), "CKV_AWS_42"),
    ("Instance", "leader", nested("rootBlockDevice", encrypted=False), "CKV_AWS_8"),
    ("LaunchTemplate", "ingest", nested("metadataOptions", httpTokens="optional"), "CKV_AWS_79"),
    (
        "LaunchTemplate",
        "analysts",
        nested("networkInterfaces", associatePublicIpAddress="true"),
        "CKV_AWS_88",
    ),
    ("Group", "ingest-group", inputs(tags=None), "CKV_AWS_153"),
    ("RolePolicy", "leader", statement(Action="*", Resource="*"), "CKV_AWS_62"),
    (
        "RolePolicy",
        "network-flow-logs",
        statement(Action=["s3:PutObject"], Resource="*"),
        "CKV_AWS_290",
    ),
    ("Role", "leader", statement("assumeRolePolicy", Principal={"AWS": "*"}), "CKV_AWS_60"),
    ("BucketPublicAccessBlock", "documents", inputs(blockPublicPolicy=False), "CKV_AWS_54"),
    ("BucketLifecycleConfiguration", "documents", MISSING, "CKV2_AWS_61"),
    ("BucketVersioning", "documents", inputs(bucket="another"), "CKV_AWS_21"),
    ("FlowLog", "network", MISSING, "CKV2_AWS_11"),
    ("DefaultSecurityGroup", "network", MISSING, "CKV2_AWS_12"),
    ("NetworkInterface", "leader", inputs(securityGroups=[]), "CKV2_AWS_5"),
    ("Instance", "leader", inputs(iamInstanceProfile=None), "CKV2_AWS_41"),
]
"""What Checkov must find, or the plan is not what it reads: kind and start of the name of a resource of the production
stack, the mistake in it, and the check that finds it."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Scan:
    """What Checkov says of every stack file."""
    plans = {stack: terraform_plan(registrations(stack)) for stack in STACKS_ON_AWS}
    return scan(plans, tmp_path_factory.mktemp("plans"))


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory: pytest.TempPathFactory) -> Scan:
    """What it says of the production stack with mistakes."""
    wrong = list(registrations("prod"))
    for kind, name, change, _ in MISTAKES:
        start = f"graphistry-prod-{name}"
        chosen = next(each for each in wrong if each.kind == kind and each.name.startswith(start))
        wrong[wrong.index(chosen)] = change(chosen)
    return scan({"prod": terraform_plan(wrong)}, tmp_path_factory.mktemp("mistakes"))


def test_no_check_fails_without_a_reason(found: Scan) -> None:
    reasons = skips()
    unexplained = [each for each in found.failed if not any(skip.covers(each) for skip in reasons)]
    assert not unexplained, "\n".join(map(str, sorted(unexplained)))


def test_every_skip_is_needed(found: Scan) -> None:
    unused = [skip for skip in skips() if not any(skip.covers(each) for each in found.failed)]
    assert not unused


@pytest.mark.parametrize("check", [check for *_, check in MISTAKES])
def test_mistakes_are_found_in_the_plan(found: Scan, mistaken: Scan, check: str) -> None:
    assert {each for each in mistaken.failed if each.check == check} - set(found.failed)


def test_the_score_is_the_one_of_the_page(found: Scan) -> None:
    passed = [each for each in found.passed if each.plan == "prod"]
    skipped = [each for each in found.failed if each.plan == "prod"]
    score = f"{len(passed)} passed, 0 failed, {len(skipped)} skipped"
    assert score in SKIPS_FILE.read_text()
