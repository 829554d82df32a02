"""The cluster's PostgreSQL and Redis, asked by this node: a service that refuses is another failure than silence."""

from __future__ import annotations

import socket

from agent.data.postgres_client import PostgresError, max_connections
from agent.data.redis_client import Redis, RedisError
from agent.failures import Failure
from agent.node import Node
from agent.specification import Endpoint

PASSING = ("LeaderUnreachable", "DataServiceDown", "PostgresStarting", "RedisStarting")
"""Failures that may pass by themselves: the leader is on its way, or restarts its services."""

POSTGRES = {
    "53300": "PostgresConnectionsExhausted",
    "53100": "PostgresDiskFull",
    "57P01": "PostgresStarting",
    "57P02": "PostgresStarting",
    "57P03": "PostgresStarting",
    "28000": "PostgresLoginRefused",
    "28P01": "PostgresLoginRefused",
    "3D000": "PostgresLoginRefused",
}
"""SQLSTATE to code (PostgreSQL's documentation, appendix A). 57P01 and 57P02: it ends, to be started again."""

REDIS = (
    ("LOADING", "RedisStarting"),
    ("ERR max number of clients", "RedisConnectionsExhausted"),
    ("MISCONF", "RedisCannotSave"),
    ("READONLY", "RedisReadOnly"),
    ("MASTERDOWN", "RedisReadOnly"),
    ("OOM", "RedisMemoryFull"),
    ("WRONGPASS", "RedisLoginRefused"),
    ("NOAUTH", "RedisLoginRefused"),
    ("NOPERM", "RedisLoginRefused"),
    ("DENIED", "RedisLoginRefused"),
    ("ERR AUTH", "RedisLoginRefused"),
    ("ERR Client sent AUTH", "RedisLoginRefused"),
    ("ERR invalid password", "RedisLoginRefused"),
)
"""How an error begins, to its code (src/server.c and src/acl.c of Redis 7; the last two are Redis 5's)."""

NAME_UNKNOWN = (
    "the leader's name is not known here: on AWS its VPC needs DNS support, DNS hostnames and AmazonProvidedDNS; "
    "then bring the leader up"
)
PROBE_SECONDS = "60"
"""How long the key of a look stays in Redis."""


def ask_postgres(node: Node) -> str:
    """Log in with the cluster's password, in words; raises Failure with a code for what came back."""
    endpoint = node.specification.postgres
    try:
        found = max_connections(endpoint.host, endpoint.port, node.secret["postgresPassword"])
    except PostgresError as error:
        raise _postgres_refusal(node, error) from error
    except OSError as error:
        raise _silence(node, "PostgreSQL", endpoint, error) from error
    node.max_connections = found
    return f"{_at(endpoint)} answers with the cluster's password"


def ask_redis(node: Node) -> str:
    """Sign in with the cluster's password and write a key that expires; raises Failure as `ask_postgres` does.

    A Redis that cannot save, is full or only a replica answers reads as if nothing were wrong.
    """
    endpoint = node.specification.redis
    key = f"graphistry-cluster:probe:{node.specification.node}"
    try:
        with Redis(endpoint.host, endpoint.port, node.secret["redisPassword"]) as redis:
            redis.call("SET", key, "1", "EX", PROBE_SECONDS)
    except RedisError as error:
        said = str(error)
        codes = (code for start, code in REDIS if said.startswith(start))
        code = next(codes, "RedisRefused")
        raise Failure(code, f"Redis at {_at(endpoint)} answers: {said}") from error
    except OSError as error:
        raise _silence(node, "Redis", endpoint, error) from error
    return f"{_at(endpoint)} answers with the cluster's password"


def _postgres_refusal(node: Node, error: PostgresError) -> Failure:
    code = POSTGRES.get(error.sqlstate, "PostgresRefused")
    message = f"PostgreSQL at {_at(node.specification.postgres)} answers: {error}"
    if code == "PostgresConnectionsExhausted":
        message += f"; {_workers(node)}"
    return Failure(code, message)


def _workers(node: Node) -> str:
    """What uses connections, against how many there are."""
    own = node.specification
    count = own.forge_workers + own.streamgl_workers + own.dask_workers
    limit = (
        f"{node.max_connections} when this node last asked" if node.max_connections else "unknown"
    )
    return (
        f"this node alone runs {count} workers ({own.forge_workers} forge, {own.streamgl_workers} streamgl,"
        f" {own.dask_workers} dask): compare nodes times workers with max_connections, {limit}"
    )


def _silence(node: Node, what: str, endpoint: Endpoint, error: OSError) -> Failure:
    """Nobody answers: on a follower it may be the way there, on the leader it is the service."""
    message = f"{what} at {_at(endpoint)} does not answer: {error or type(error).__name__}"
    if node.specification.is_leader:
        return Failure("DataServiceDown", message)
    hint = NAME_UNKNOWN if isinstance(error, socket.gaierror) else None
    return Failure("LeaderUnreachable", message, hint=hint)


def _at(endpoint: Endpoint) -> str:
    return f"{endpoint.host}:{endpoint.port}"
