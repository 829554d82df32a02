"""The instance metadata service, version 2, for the machines of one network.

A machine is known by the address it asks from, as on AWS. cloud-init may ask without a token, which
is version 1: it does so to find out which cloud it is on. A token travels as many hops as the
machine's options say, so that a container behind the machine's bridge gets none with one hop.
"""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from ..account import ACCOUNT
from .inventory import Machine

PORT = 1338
"""On the gateway of each network; what machines ask, port 80 of METADATA, leads there."""
TOKEN_HEADER = "HTTP_X_AWS_EC2_METADATA_TOKEN"  # noqa: S105, a header's name
CREDENTIAL_HOURS = 6

Find = Callable[[str], Machine | None]
"""The machine with an address."""


def application(find: Find) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    """The WSGI application of one network."""
    tokens: set[str] = set()

    def serve(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        status, body = answer(environ)
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
        start_response(status, [*headers, ("X-aws-ec2-metadata-token-ttl-seconds", "21600")])
        return [body]

    def answer(environ: dict[str, Any]) -> tuple[str, bytes]:
        machine = find(environ["REMOTE_ADDR"])
        if machine is None:
            return "404 Not Found", b""
        path = environ["PATH_INFO"].strip("/")
        if environ["REQUEST_METHOD"] == "PUT" and path == "latest/api/token":
            _limit_hops(environ, machine.hop_limit)
            token = secrets.token_urlsafe(24)
            tokens.add(token)
            return "200 OK", token.encode()
        if environ.get(TOKEN_HEADER, "") not in {"", *tokens}:
            return "401 Unauthorized", b""
        found = look_up(machine, path)
        return ("404 Not Found", b"") if found is None else ("200 OK", found)

    return serve


def _limit_hops(environ: Mapping[str, Any], hops: int) -> None:
    """Of what this connection answers from now on; a client that was not answered asks by another one."""
    connection = environ.get("werkzeug.socket")
    if connection is not None:
        connection.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)


def look_up(machine: Machine, path: str) -> bytes | None:
    """The document at a path of the service, or the list of what is below it; None: no such path.

    Every date that stands for a version of the service is taken for the latest one.
    """
    version, _, rest = path.partition("/")
    if not version:
        return b"2021-07-15\nlatest"
    tree: Any = _tree(machine)
    for part in filter(None, rest.split("/")):
        if not isinstance(tree, Mapping) or part not in tree:
            return None
        tree = tree[part]
    if isinstance(tree, Mapping):
        names = (f"{name}/" if isinstance(tree[name], Mapping) else name for name in tree)
        return "\n".join(names).encode()
    return tree if isinstance(tree, bytes) else str(tree).encode()


def _tree(machine: Machine) -> dict[str, Any]:
    host = f"{host_name(machine.address)}.ec2.internal"
    interface = {
        "device-number": "0",
        "local-ipv4s": machine.address,
        "mac": machine.mac,
        "vpc-id": machine.vpc,
    }
    described: dict[str, Any] = {
        "ami-id": machine.image,
        "hostname": host,
        "instance-id": machine.identifier,
        "instance-type": machine.instance_type,
        "local-hostname": host,
        "local-ipv4": machine.address,
        "mac": machine.mac,
        "network": {"interfaces": {"macs": {machine.mac: interface}}},
        "placement": {"availability-zone": machine.zone, "region": machine.region},
        "tags": {"instance": dict(machine.tags)},
    }
    if machine.role:
        described["iam"] = {"security-credentials": {machine.role: _credentials(machine)}}
    tree: dict[str, Any] = {
        "meta-data": described,
        "dynamic": {"instance-identity": {"document": _identity(machine)}},
    }
    if machine.user_data:
        tree["user-data"] = machine.user_data
    return tree


def _credentials(machine: Machine) -> str:
    now = datetime.now(UTC)
    document = {
        "Code": "Success",
        "LastUpdated": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "Type": "AWS-HMAC",
        "AccessKeyId": "sandbox",
        "SecretAccessKey": "sandbox",
        "Token": f"sandbox-{machine.identifier}",
        "Expiration": (now + timedelta(hours=CREDENTIAL_HOURS)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return json.dumps(document, indent=2)


def _identity(machine: Machine) -> str:
    document = {
        "accountId": ACCOUNT,
        "architecture": "x86_64",
        "availabilityZone": machine.zone,
        "imageId": machine.image,
        "instanceId": machine.identifier,
        "instanceType": machine.instance_type,
        "privateIp": machine.address,
        "region": machine.region,
        "version": "2017-09-30",
    }
    return json.dumps(document, indent=2)


def host_name(address: str) -> str:
    """The name that AWS gives a machine."""
    return "ip-" + address.replace(".", "-")
