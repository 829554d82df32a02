"""A command that reaches another AWS account than the cluster's is refused, before anything is looked at."""

from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import NoCredentialsError

from model.problems import UserError
from operate.stack.account import refuse_another_account
from sandbox.account import ACCOUNT as SANDBOX

OURS, OTHERS = "111122223333", "999999999999"


def opened(
    *, state: str | None, arn: str = "", sandbox: object = None, refused: Exception | None = None
) -> Any:
    """A stack with resources in the account *state*, whose commands are of the caller *arn*."""

    def caller() -> dict[str, str]:
        if refused:
            raise refused
        return {"Account": arn.split(":")[4], "Arn": arn}

    made = {"type": "aws:ec2/vpc:Vpc", "outputs": {"arn": f"arn:aws:ec2:us-east-1:{state}:vpc/v"}}
    return SimpleNamespace(
        stack="prod",
        sandbox=sandbox,
        settings=None,
        exists=lambda: state is not None,
        checkpoint=lambda: {"resources": [made]},
        client=lambda _: SimpleNamespace(get_caller_identity=caller),
    )


def person(account: str, partition: str = "aws") -> str:
    return f"arn:{partition}:iam::{account}:user/somebody"


def test_the_account_of_the_cluster_is_let_on() -> None:
    refuse_another_account(opened(state=OURS, arn=person(OURS)))


def test_a_stack_that_was_never_deployed_may_go_anywhere() -> None:
    refuse_another_account(opened(state=None, refused=NoCredentialsError()))


@pytest.mark.parametrize(
    ("stack", "told"),
    [
        ({"state": OURS, "arn": person(OTHERS)}, f"sign in to AWS account {OURS}"),
        ({"state": OURS, "arn": person(SANDBOX)}, "unset AWS_ENDPOINT_URL"),
        ({"state": SANDBOX, "arn": person(OURS)}, "is used with `--target sandbox`"),
        (
            {"state": OURS, "arn": person(SANDBOX), "sandbox": "one"},
            "this is the state of a real cluster",
        ),
        ({"state": OURS, "arn": person(OURS, "aws-cn")}, "the partition aws-cn"),
        ({"state": OURS, "refused": NoCredentialsError()}, "aws sso login"),
    ],
)
def test_any_other_is_refused_with_what_to_do(stack: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as refusal:
        refuse_another_account(opened(**stack))
    assert told in str(refusal.value)
    assert "Nothing was changed" in str(refusal.value)
