"""Using a node as its users do: what the operator's `./cluster prove` runs on each node.

Each exercise prints exactly one JSON object on standard output: what it has found, or {"notProven": "..."} where nobody
could tell; on a failure, {"error": "..."} and status 1.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from pathlib import Path
from typing import Any, Callable

from agent.containers.compose import Compose
from agent.data.redis_client import Redis, RedisError
from agent.failures import Failure, NotProvenError
from agent.folders import nfs
from agent.graphistry import connections, release_folder, users, visualization, web
from agent.machine import ports
from agent.node import HOME
from agent.phases import tunnel
from agent.phases.secrets import user_password
from agent.phases.tunnel import Peer
from agent.specification import Specification, read

READERS = {
    "CUDA_VISIBLE_DEVICES": "forge-etl-python",
    "FORGE_NUM_WORKERS": "forge-etl-python",
    "STREAMGL_NUM_WORKERS": "streamgl-gpu",
    "DASK_NUM_WORKERS": "dask-cuda-worker",
}
"""Variable to the service that reads it (graphistry-cli, environment variables)."""

BYTES = 64 * 1024
"""Far more than WireGuard's own packets and a node's other traffic of that moment."""
EDGES = {"src": [0, 1, 2, 3, 4], "dst": [1, 2, 3, 4, 0]}
CONNECT_SECONDS = 10
"""For services that connect to a data service when they are used, and not before."""
LOOK_SECONDS = 0.5
GONE_SECONDS = 10
"""For what a node may still keep of a dataset that another one has deleted."""


class Exercises:
    """This node, from what its agent has left on the disk."""

    def __init__(self) -> None:
        self.specification: Specification = read((HOME / "specification.json").read_bytes())
        self.secret: dict[str, str] = json.loads((HOME / "secrets.json").read_text())
        self.folder = release_folder.place(self.specification)
        self.compose = Compose(self.folder)

    def enter(self) -> None:
        """Find where this node's pages are; raises NotProvenError where nobody knows a name that they answer to."""
        door = web.enter(self.folder, self.compose.services(), self.compose.containers)
        if not door.is_found:
            raise NotProvenError(door.why)

    def upload(self, name: str) -> dict[str, Any]:
        """Store a small edge list."""
        return {"datasetId": web.upload(self._token(), name, EDGES)}

    def read(self, identifier: str) -> dict[str, Any]:
        """The number of a dataset's edges; None where its description counts none."""
        return {"edges": web.edges(self._token(), identifier)}

    def visualize(self, identifier: str) -> dict[str, Any]:
        """Open a dataset's session: which keys that made in the node's own Redis, and which the leader's has too."""
        before = self._own_keys()
        with visualization.opened(identifier):
            new = sorted(self._own_keys() - before)
            with self._leaders_redis() as redis:
                also = [key for key in new if redis.call("EXISTS", key)]
        return {"answered": True, "newLocalKeys": new, "alsoOnLeader": also}

    def delete(self, identifier: str) -> dict[str, Any]:
        """Delete a dataset that this node knows; a release without a page for it proves nothing."""
        bearer = self._token()
        web.edges(bearer, identifier)
        try:
            web.delete(bearer, identifier)
        except web.WebError as error:
            if error.status not in web.NO_SUCH_PAGE:
                raise
            message = f"this release deletes no dataset that it has: {error}"
            raise NotProvenError(message) from error
        return {"deleted": identifier}

    def gone(self, identifier: str) -> dict[str, Any]:
        """Whether this node no longer knows a dataset."""
        bearer, end = self._token(), time.monotonic() + GONE_SECONDS
        while not web.is_gone(bearer, identifier):
            if time.monotonic() > end:
                return {"gone": False}
            time.sleep(1)
        return {"gone": True}

    def sign_up(self, user: str) -> dict[str, Any]:
        """Make a user."""
        made = users.ensure(self.compose, user, user_password(self.secret, user), is_admin=False)
        return {"user": user, "made": made}

    def sign_in(self, user: str) -> dict[str, Any]:
        """Sign in as a user that some node has made."""
        web.token(user, user_password(self.secret, user))
        return {"signedIn": True}

    def set_setting(self, user: str, value: str) -> dict[str, Any]:
        """Change a user's setting."""
        users.set_name(self.compose, user, value)
        return {"value": value}

    def get_setting(self, user: str) -> dict[str, Any]:
        """A user's setting."""
        return {"value": users.get_name(self.compose, user)}

    def services(self) -> dict[str, Any]:
        """The services' states, and whether PostgreSQL runs anywhere on this node."""
        return {
            "services": {
                each.service: f"{each.state} {each.health}".strip()
                for each in self.compose.containers()
            },
            "postgresRuns": any(name.startswith("postgres") for name in _process_names()),
        }

    def connections(self) -> dict[str, Any]:
        """To which PostgreSQL and Redis the services of this node talk, while it is used: each promise with what was
        not seen of it, and what leads elsewhere."""
        bearer, seen = self._token(), set()
        identifier = web.upload(bearer, f"proof-{secrets.token_hex(4)}", EDGES)
        end = time.monotonic() + CONNECT_SECONDS
        try:
            while True:
                seen.update(connections.seen(self.specification, self.compose.containers()))
                missing = [each.missing(list(seen)) for each in connections.PROMISES]
                if not any(missing) or time.monotonic() > end:
                    break
                time.sleep(LOOK_SECONDS)
        finally:
            with contextlib.suppress(web.WebError):
                web.delete(bearer, identifier)
        return {
            "promises": [
                {
                    "to": f"{each.place} {each.to}",
                    "services": list(each.services),
                    "missing": silent,
                }
                for each, silent in zip(connections.PROMISES, missing)
            ],
            "wrong": sorted(str(each) for each in seen if not each.is_right),
        }

    def tunnel(self) -> dict[str, Any]:
        """What WireGuard carried to the leader and back while its Redis repeated BYTES, and who of the leader answers
        outside of the tunnel."""
        wanted = self.specification.tunnel
        if wanted is None:
            raise ValueError("this node has no tunnel")
        before = self._carried()
        with self._leaders_redis() as redis:
            redis.call("PING", "x" * BYTES)
        after = self._carried()
        listed = (self.specification.postgres.port, self.specification.redis.port, nfs.PORT)
        return {
            "bytes": BYTES,
            "sent": after.sent - before.sent,
            "received": after.received - before.received,
            "handshakeSeconds": None if after.age is None else round(after.age),
            "openOutside": [port for port in listed if ports.state(wanted.leader, port) == "open"],
        }

    def _carried(self) -> Peer:
        peers = list((tunnel.shown_peers() or {}).values())
        if len(peers) != 1:
            raise ValueError(f"a follower has one peer, this node {len(peers)}")
        return peers[0]

    def workers(self) -> dict[str, Any]:
        """The GPUs and the worker counts, each as the service that reads it was started with."""
        given = {each.service: each.environment for each in self.compose.containers()}
        return {
            variable: given.get(service, {}).get(variable, "")
            for variable, service in READERS.items()
        }

    def _token(self) -> str:
        return web.token(users.SERVICE, self.secret["servicePassword"])

    def _leaders_redis(self) -> Redis:
        endpoint = self.specification.redis
        return Redis(endpoint.host, endpoint.port, self.secret["redisPassword"])

    def _own_keys(self) -> set[str]:
        done = self.compose.execute("redis", ["redis-cli", "--scan"], seconds=30)
        return set(done.output.split())


def exercise(name: str, arguments: list[str]) -> int:
    """Run one exercise and print its outcome."""
    try:
        exercises = Exercises()
        by_pages: dict[str, Callable[..., dict[str, Any]]] = {
            "upload": exercises.upload,
            "read": exercises.read,
            "visualize": exercises.visualize,
            "delete": exercises.delete,
            "gone": exercises.gone,
            "sign-in": exercises.sign_in,
            "connections": exercises.connections,
        }
        known: dict[str, Callable[..., dict[str, Any]]] = {
            **by_pages,
            "sign-up": exercises.sign_up,
            "set-setting": exercises.set_setting,
            "get-setting": exercises.get_setting,
            "services": exercises.services,
            "workers": exercises.workers,
            "tunnel": exercises.tunnel,
        }
        if name not in known:
            raise ValueError(f"exercise {name!r} is none of {', '.join(known)}")
        if name in by_pages:
            exercises.enter()
        outcome = known[name](*arguments)
    except NotProvenError as why:
        outcome = {"notProven": str(why)}
    except (Failure, web.WebError, RedisError, OSError, ValueError, TypeError) as error:
        print(json.dumps({"error": str(error)}))
        return 1
    print(json.dumps(outcome))
    return 0


def _process_names() -> list[str]:
    """The names of all processes that this machine sees."""
    found = []
    for entry in Path("/proc").iterdir():
        # A process may end meanwhile.
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                found.append((entry / "comm").read_text().strip())
    return found
