"""Look-ups of the program that AWS does not answer: one sentence and no traceback."""

import pulumi
import pytest

from components.aws.look_ups import failed_look_up
from tests.conftest import Deploy
from tests.harness import ANSWERS

OFFERINGS = "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings"
PARAMETER = "aws:ssm/getParameter:getParameter"
IMAGE = "aws:ec2/getAmi:getAmi"


@pytest.mark.parametrize("function", [OFFERINGS, PARAMETER, IMAGE])
def test_what_is_denied_is_told_with_the_right_that_lacks(
    deploy_stack: Deploy, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    said = "UnauthorizedOperation: User is not authorized to perform: a-b:GetX on it"
    monkeypatch.setitem(ANSWERS, function, lambda _: {"failure": said})
    with pytest.raises(pulumi.RunError) as raised:
        deploy_stack()
    assert str(raised.value) == (
        f"AWS refuses {function.rpartition(':')[2]} (UnauthorizedOperation): "
        "the right a-b:GetX is needed by whoever deploys"
    )


def test_the_images_of_the_marketplace_are_no_exception(
    deploy_stack: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = "UnauthorizedOperation: User is not authorized to perform: ec2:DescribeImages"
    monkeypatch.setitem(ANSWERS, IMAGE, lambda _: {"failure": denied})
    with pytest.raises(pulumi.RunError, match="the right ec2:DescribeImages is needed"):
        deploy_stack(image={"marketplace": True})


def test_another_failure_is_told_in_the_words_of_aws(
    deploy_stack: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ANSWERS, PARAMETER, lambda _: {"failure": "ParameterNotFound:\n no"})
    with pytest.raises(
        pulumi.RunError, match="does not answer getParameter: ParameterNotFound: no"
    ):
        deploy_stack()


def test_a_refusal_that_names_no_right_names_the_operation() -> None:
    said = (
        f"invoke of {PARAMETER} failed: reading: operation error SSM: GetParameter, https response "
        "error StatusCode: 400, api error AccessDeniedException: no"
    )
    assert failed_look_up(Exception(said)) == (
        "AWS refuses getParameter (AccessDeniedException): the right ssm:GetParameter is needed by "
        "whoever deploys"
    )


def test_a_mistake_of_the_program_keeps_its_traceback(
    deploy_stack: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ANSWERS, OFFERINGS, lambda _: {})
    with pytest.raises(TypeError):
        deploy_stack()
