"""What is deployed, as it is now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError

from model.problems import UserError
from operate.hosts.connected import Hosts, hosts_of
from operate.nodes.on_aws import Node, Seen, nodes
from operate.nodes.on_hosts import nodes_on_hosts
from operate.nodes.settled import settled
from operate.stack.deployment import (
    Deployment,
)


def deployed_outputs(opened: Deployment) -> dict[str, Any]:
    """The stack's outputs. Raises :class:`UserError` when it is not deployed."""
    outputs = opened.outputs() if opened.exists() else {}
    if not is_deployed(opened, outputs):
        raise UserError(
            f"the stack {opened.stack} is not deployed; `./cluster up{opened.choice}` deploys it"
        )
    return outputs


def is_deployed(opened: Deployment, outputs: Mapping[str, Any]) -> bool:
    """Whether outputs are those of a cluster that is there. A state outlives the sandbox that it tells of."""
    if "followers" not in outputs:
        return False
    if opened.sandbox is None or "bucket" not in outputs:
        return True
    try:
        opened.client("s3").head_bucket(Bucket=outputs["bucket"])
    except ClientError:
        return False
    return True


@contextmanager
def hosts_in(opened: Deployment) -> Iterator[Hosts | None]:
    """The hosts of a stack that exists, one SSH connection each while the block runs; None on AWS."""
    settings = opened.hosts_settings()
    if settings is None:
        yield None
        return
    with hosts_of(settings, opened.unlike) as hosts:
        yield hosts


def present_nodes(
    opened: Deployment, outputs: Mapping[str, Any], hosts: Hosts | None
) -> list[Node]:
    """The nodes of a deployed stack as they are now."""
    return [each.node for each in _look(opened, outputs, hosts)]


def settled_nodes(
    opened: Deployment, outputs: Mapping[str, Any], hosts: Hosts | None
) -> list[Node]:
    """The same, once what passes by itself has passed."""
    return settled(lambda: _look(opened, outputs, hosts))


def _look(opened: Deployment, outputs: Mapping[str, Any], hosts: Hosts | None) -> list[Seen]:
    return nodes(opened, outputs) if hosts is None else nodes_on_hosts(hosts, outputs)
