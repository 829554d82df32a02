"""First program of a new machine: fetch the agent that the specification names, verify it, run it.

The text of this file is the machine's user data, so it never depends on a release or a setting. Whatever goes
wrong is reported to the bucket, so that a machine which dies here says why.

    python3 bootstrap.py REGION BUCKET PREFIX

The agent uses its requests and signatures too.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Callable, TypeVar

METADATA = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254")
HOME = Path(os.environ.get("GRAPHISTRY_CLUSTER_HOME", "/opt/graphistry-cluster"))
PATIENCE_SECONDS = float(os.environ.get("GRAPHISTRY_CLUSTER_PATIENCE", "600"))
"""A new role takes up to a minute to be known, a new network longer to be routed."""

TRANSIENT = (OSError, ValueError, IndexError, KeyError)
"""What an answer that is not there yet raises: refused connections, HTTP errors, half an answer."""

PASSING_STATUS = (408, 425, 429)
"""Refusals of HTTP that pass by themselves, as every 5xx may."""

HINT = "docs/reference/failure-codes.md names cause and remedy; the machine's console and cloud-init log say more"

DOMAINS = (
    ("cn-", "amazonaws.com.cn"),
    ("eusc-", "amazonaws.eu"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
)
"""How the regions begin of partitions with a domain of their own (botocore, data/partitions.json)."""

Result = TypeVar("Result")


class BootstrapError(Exception):
    """A step that failed for good, with a stable code for the report."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def request(
    method: str, url: str, headers: dict[str, str], body: bytes | None, pause: float = 1.0
) -> bytes:
    """The body of an HTTP answer; urllib's errors pass through, a server's own after three tries."""
    asked = urllib.request.Request(url, data=body, headers=headers, method=method)
    for attempt in (1, 2, 3):
        try:
            with urllib.request.urlopen(asked, timeout=20) as answer:
                content: bytes = answer.read()
            break
        except urllib.error.HTTPError as error:
            if (error.code < 500 and error.code not in PASSING_STATUS) or attempt == 3:
                raise
        time.sleep(pause * attempt)
    return content


def metadata(path: str) -> str:
    """One value of the instance metadata service, version 2 only."""
    lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "21600"}
    token = request("PUT", f"{METADATA}/latest/api/token", lifetime, b"").decode()
    headers = {"X-aws-ec2-metadata-token": token}
    return request("GET", f"{METADATA}/latest/meta-data/{path}", headers, None).decode()


def credentials() -> dict[str, str]:
    """The temporary credentials of the machine's role."""
    roles = "iam/security-credentials/"
    found: dict[str, str] = json.loads(metadata(roles + metadata(roles).split()[0]))
    return found


def domain(region: str) -> str:
    """Under which name the services of a region are: that of its partition."""
    return next((name for begin, name in DOMAINS if region.startswith(begin)), "amazonaws.com")


def object_url(region: str, bucket: str, key: str) -> str:
    """Where an object of S3 is."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    path = urllib.parse.quote(key, safe="/~")
    if endpoint:
        return f"{endpoint}/{bucket}/{path}"
    return f"https://{bucket}.s3.{region}.{domain(region)}/{path}"


def signed(
    scope: str,
    method: str,
    url: str,
    body: bytes,
    role: dict[str, str],
    extra: dict[str, str] | None = None,
) -> dict[str, str]:
    """*extra* and the headers of AWS Signature Version 4, which needs no package that a plain image lacks.

    *scope* is REGION/SERVICE; the URL's path and query are quoted already, and the query's names sorted.
    """
    parts = urllib.parse.urlsplit(url)
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    headers = {
        "host": parts.netloc,
        "x-amz-content-sha256": hashlib.sha256(body).hexdigest(),
        "x-amz-date": now,
        "x-amz-security-token": role["Token"],
        **(extra or {}),
    }
    names = ";".join(sorted(headers))
    lines = [method, parts.path, parts.query]
    lines += [f"{name}:{headers[name]}" for name in sorted(headers)]
    lines += ["", names, headers["x-amz-content-sha256"]]
    scope = f"{now[:8]}/{scope}/aws4_request"
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    key = f"AWS4{role['SecretAccessKey']}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{digest}"
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={role['AccessKeyId']}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    # Without it urllib says that the body is a form.
    headers.setdefault("content-type", "application/octet-stream")
    return headers


class Bucket:
    """One S3 bucket, reached with the machine's role."""

    def __init__(self, region: str, name: str) -> None:
        self.region = region
        self.name = name

    def get(self, key: str) -> bytes:
        """The bytes of an object."""
        return self._call("GET", key, b"")

    def put(self, key: str, body: bytes) -> None:
        """Replace an object."""
        self._call("PUT", key, body)

    def _call(self, method: str, key: str, body: bytes) -> bytes:
        url = object_url(self.region, self.name, key)
        headers = signed(f"{self.region}/s3", method, url, body, credentials())
        return request(method, url, headers, body or None)


def patiently(code: str, what: str, attempt: Callable[[], Result]) -> Result:
    """The result of *attempt*, tried until PATIENCE_SECONDS are over; then BootstrapError."""
    end = time.monotonic() + PATIENCE_SECONDS
    wait = 1.0
    while True:
        try:
            return attempt()
        except TRANSIENT as error:
            if time.monotonic() + wait > end:
                raise BootstrapError(code, f"{what}: {error}") from error
            print(f"waiting: {what}: {error}", flush=True)
        time.sleep(wait)
        wait = min(wait * 2, 15.0)


def install(bucket: Bucket, prefix: str) -> Path:
    """Fetch and verify the agent; return the path of its archive. Raises BootstrapError."""
    text = patiently(
        "SpecificationUnavailable",
        "the specification cannot be read",
        lambda: bucket.get(f"{prefix}specification.json"),
    )
    agent: dict[str, str] = json.loads(text)["agent"]
    archive = patiently(
        "AgentUnavailable", "the agent cannot be fetched", lambda: bucket.get(agent["key"])
    )
    found = hashlib.sha256(archive).hexdigest()
    if found != agent["sha256"]:
        raise BootstrapError(
            "AgentChecksumMismatch",
            f"the agent has sha256 {found}, the specification names {agent['sha256']}",
        )
    HOME.mkdir(parents=True, exist_ok=True)
    partial = HOME / "agent.pyz.partial"
    partial.write_bytes(archive)
    return partial.replace(HOME / "agent.pyz")


def report_failure(bucket: Bucket, prefix: str, code: str, message: str, log: list[str]) -> None:
    """Tell the bucket why this machine has no agent; and the console, in case there is no bucket."""
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    failure = {"phase": "bootstrap", "code": code, "message": message, "at": now}
    document: dict[str, Any] = {
        "schemaVersion": 1,
        "state": "failed",
        "phase": "bootstrap",
        "failure": {**failure, "hint": HINT, "log": log},
        "heartbeat": now,
    }
    print(f"graphistry-cluster: bootstrap failed: {code}: {message}", flush=True)
    try:
        document["instance"] = {"id": metadata("instance-id")}
    except TRANSIENT as error:
        print(f"graphistry-cluster: the instance's id is unknown: {error}", flush=True)
    try:
        bucket.put(f"{prefix}report.json", json.dumps(document).encode())
    except TRANSIENT as error:
        print(f"graphistry-cluster: the report cannot be written: {error}", flush=True)


def main(region: str, name: str, prefix: str) -> int:
    """Run the bootstrap; the exit status is that of the agent's installation, or 1."""
    bucket = Bucket(region, name)
    try:
        archive = install(bucket, prefix)
        command = [sys.executable, str(archive), "install", region, name, prefix]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except BootstrapError as error:
        report_failure(bucket, prefix, error.code, str(error), [])
        return 1
    except BaseException as error:
        # A surprise, or a signal, is reported too: this machine has no other witness.
        report_failure(bucket, prefix, "BootstrapCrashed", repr(error), [])
        raise
    output = done.stdout.decode(errors="replace")
    print(output, end="", flush=True)
    if done.returncode:
        message = f"agent.pyz install ended with status {done.returncode}"
        report_failure(bucket, prefix, "AgentInstallFailed", message, output.splitlines()[-20:])
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
