"""Where a state says that its resources are."""

import pytest

from model.recorded import Recorded, arn_parts, moved, recorded


@pytest.mark.parametrize(
    ("arn", "parts"),
    [
        ("arn:aws:ec2:us-east-1:111122223333:vpc/vpc-1", ("aws", "111122223333")),
        ("arn:aws-cn:iam::111122223333:role/a/b", ("aws-cn", "111122223333")),
        ("arn:aws-us-gov:s3:::bucket", ("aws-us-gov", "")),
        ("arn:aws:iam::aws:policy/AWSManaged", None),
        ("", None),
        (None, None),
    ],
)
def test_an_arn_names_partition_and_account(arn: object, parts: tuple[str, str] | None) -> None:
    assert arn_parts(arn) == parts


def test_a_state_names_the_accounts_of_its_provider_and_of_its_resources() -> None:
    found = recorded(
        [
            {"type": "pulumi:pulumi:Stack"},
            {"type": "pulumi:providers:aws", "outputs": {"allowedAccountIds": '["111122223333"]'}},
            {"type": "aws:s3/bucket:Bucket", "outputs": {"arn": "arn:aws-cn:s3:::bucket"}},
            {
                "type": "aws:ec2/vpc:Vpc",
                "outputs": {"arn": "arn:aws-cn:ec2:cn-north-1:444455556666:vpc/vpc-1"},
            },
            {"type": "other:thing", "outputs": {"arn": "arn:aws:x::999999999999:y"}},
        ]
    )
    assert found.accounts == {"111122223333", "444455556666"}
    assert found.partitions == {"aws-cn"}


def test_a_state_of_an_earlier_version_is_read_too() -> None:
    provider = {"type": "pulumi:providers:aws", "outputs": {"region": "us-east-1"}}
    nothing: frozenset[str] = frozenset()
    assert recorded([provider]) == Recorded(
        accounts=nothing, partitions=nothing, regions=frozenset({"us-east-1"}), begun=True
    )


def test_a_provider_that_a_failed_run_has_moved_says_nothing_of_where_the_cluster_is() -> None:
    found = recorded(
        [
            {"type": "pulumi:providers:aws", "outputs": {"region": "us-west-2"}},
            {"type": "aws:iam/role:Role", "outputs": {"arn": "arn:aws:iam::111122223333:role/x"}},
            {
                "type": "aws:ebs/volume:Volume",
                "outputs": {"arn": "arn:aws:ec2:us-east-1:111122223333:volume/vol-1"},
            },
        ]
    )
    assert moved(found, "us-east-1") is None
    assert "got 'us-west-2', but this cluster is in 'us-east-1'" in str(moved(found, "us-west-2"))
    assert moved(recorded([]), "us-west-2") is None
