"""What a stack on hosts says, before anything starts, of what its hosts send as plain text."""

from __future__ import annotations

from typing import Any

import pytest

from model.settings.hosts import FollowersOnHosts
from model.settings.read import parse
from operate.commands.preparation import plain_traffic_on_hosts
from tests.model.examples import HOSTS, changed


def words(raw: dict[str, Any], encryption: str | None = None) -> str:
    settings = parse(raw)
    assert isinstance(settings, FollowersOnHosts)
    return plain_traffic_on_hosts(settings, encryption)


@pytest.mark.parametrize(
    ("folder", "what"),
    [
        ({"kind": "nfs-on-leader"}, "PostgreSQL, Redis and NFS cross"),
        ({"kind": "path", "path": "/mnt/data"}, "PostgreSQL and Redis cross"),
    ],
)
def test_what_crosses_the_network_as_plain_text_is_named(folder: dict[str, Any], what: str) -> None:
    assert words(changed(HOSTS, {"sharedFolder": folder})).startswith(what)


def test_what_goes_through_wireguard_is_named_and_a_file_server_is_not_part_of_it() -> None:
    own = words(changed(HOSTS, {"sharedFolder": {"kind": "nfs-on-leader"}}), "wireguard")
    assert "plain text" not in own
    server = words(HOSTS, "wireguard")
    assert "PostgreSQL and Redis go through WireGuard" in server
    assert "NFS of 10.0.0.5 crosses the network as plain text" in server
