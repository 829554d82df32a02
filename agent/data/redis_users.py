"""The users of the cluster's Redis: the product's, who does no more than it needs, and one for administration.

Whoever has the product's password, which every node has, could otherwise load modules, make this Redis another one's
replica, write files by its settings, or empty it.
"""

from __future__ import annotations

import hashlib
from typing import Mapping

from agent.data.redis_client import Redis, RedisError
from agent.node import Node

ADMINISTRATOR = "administrator"
"""Whose password is the secret's adminPassword, which only the leader has."""
CLIENT = ("setname", "getname", "id", "info", "list", "reply", "tracking", "caching")
GIVEN_BACK = ("flushdb", "info", "keys", "sort", "role", *(f"client|{each}" for each in CLIENT))
"""Of what Redis calls dangerous, what clients use: Django clears its cache by FLUSHDB, libraries ask INFO and CLIENT as
they connect. Names that both Redis 6.2 and 7 know: one that it does not know keeps Redis from starting."""

SCRIPTS = ("-script", "+script|load", "+script|exists")
"""What libraries call for scripts of theirs: SCRIPT DEBUG holds up every other client, and counts as harmless."""


def rules(secret: Mapping[str, str]) -> dict[str, list[str]]:
    """What each user may do, as ACL SETUSER takes it; passwords by their hashes."""
    everywhere = ["reset", "on", "~*", "&*", "+@all"]
    product = ["-@dangerous", *(f"+{each}" for each in GIVEN_BACK), *SCRIPTS]
    return {
        ADMINISTRATOR: [*everywhere, _hash(secret["adminPassword"])],
        "default": [*everywhere, *product, _hash(secret["redisPassword"])],
    }


def configuration(secret: Mapping[str, str]) -> str:
    """Redis's file of settings, so that no password is on a command line."""
    users = "".join(f"user {name} {' '.join(each[1:])}\n" for name, each in rules(secret).items())
    return f"bind 0.0.0.0\nprotected-mode yes\n{users}"


def restrict(node: Node) -> None:
    """Give the running Redis of this leader its users, without a restart; a later start reads them from the file.

    Raises RedisError where it refuses, OSError where it does not answer.
    """
    endpoint, secret = node.specification.redis, node.secret
    try:
        redis = Redis(endpoint.host, endpoint.port, secret["adminPassword"], ADMINISTRATOR)
    except RedisError:
        # From before there were users: the product's password does everything.
        redis = Redis(endpoint.host, endpoint.port, secret["redisPassword"])
    with redis:
        for name, words in rules(secret).items():
            redis.call("ACL", "SETUSER", name, *words)


def _hash(password: str) -> str:
    return f"#{hashlib.sha256(password.encode()).hexdigest()}"
