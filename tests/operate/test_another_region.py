"""A cluster stays in its region, and one on hosts is in none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from model.problems import UserError
from model.settings.read import parse
from operate.commands.preparation import refuse_another_region
from operate.stack.deployment import Deployment
from tests.model.examples import HOSTS, SMALLEST

QUEUE = {
    "type": "aws:sqs/queue:Queue",
    "outputs": {"arn": "arn:aws:sqs:eu-west-1:123456789012:graphistry"},
}


def deployed(raw: dict[str, Any], config: dict[str, str], *resources: dict[str, Any]) -> Any:
    """A stack that was deployed before, with the keys of its file."""

    class Opened(SimpleNamespace):
        region = Deployment.region

    return Opened(
        settings=parse(raw),
        config=config,
        exists=lambda: True,
        checkpoint=lambda: {"resources": list(resources)},
    )


def test_another_region_than_the_clusters_is_refused() -> None:
    moved = deployed(SMALLEST, {"aws:region": "us-east-1"}, QUEUE)
    with pytest.raises(UserError, match="got 'us-east-1', but this cluster is in 'eu-west-1'"):
        refuse_another_region(moved)


def test_hosts_are_in_no_region() -> None:
    refuse_another_region(deployed(HOSTS, {}))
