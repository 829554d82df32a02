"""What a stack on hosts says, before anything starts, of what its hosts send as plain text."""

from __future__ import annotations

from typing import Any

import pytest

from model.hosts import FollowersOnHosts
from model.settings import parse
from operate.preparation import plain_traffic_on_hosts
from tests.model.examples import HOSTS, changed


def words(raw: dict[str, Any]) -> str:
    settings = parse(raw)
    assert isinstance(settings, FollowersOnHosts)
    return plain_traffic_on_hosts(settings)


@pytest.mark.parametrize(
    ("folder", "what"),
    [
        ({"kind": "nfs-on-leader"}, "PostgreSQL, Redis and NFS cross"),
        ({"kind": "path", "path": "/mnt/data"}, "PostgreSQL and Redis cross"),
    ],
)
def test_what_crosses_the_network_as_plain_text_is_named(folder: dict[str, Any], what: str) -> None:
    assert words(changed(HOSTS, {"sharedFolder": folder})).startswith(what)
