"""What a machine finds around it, on this computer: a metadata service, and AWS by moto."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import boto3
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

import agent.__main__  # noqa: F401, so that every module of the agent can be redirected
from agent.graphistry.door import Door
from agent.node import Node
from agent.report import Report
from agent.sites.aws import AwsError
from agent.sites.aws_site import AwsSite
from agent.sites.hosts_site import HostsSite
from agent.specification import read
from agent.wishes import Ask
from components.aws.user_data import user_data

from .fake_engine import engine
from .fakes import FakeMachine

SECRET = "canary-secret-access-key"
BUCKET, PREFIX, REGION = "documents", "nodes/small/", "us-east-1"

MACHINE = {
    "instance-id": "i-0123456789abcdef0",
    "instance-type": "g4dn.xlarge",
    "availability-zone": "us-east-1a",
    "local-ipv4": "10.40.0.10",
}


class MetadataService(BaseHTTPRequestHandler):
    """A stand-in for the instance metadata service that insists on version 2, as the machines do."""

    def do_PUT(self) -> None:
        self.answer(b"token")

    def do_GET(self) -> None:
        if self.headers["X-aws-ec2-metadata-token"] != "token":
            self.send_error(401)
        elif self.path.endswith("/security-credentials/"):
            self.answer(b"small-role")
        elif self.path.rsplit("/", 1)[-1] in MACHINE:
            self.answer(MACHINE[self.path.rsplit("/", 1)[-1]].encode())
        else:
            role = {"AccessKeyId": "AKIASMALL", "SecretAccessKey": SECRET, "Token": "session"}
            self.answer(json.dumps(role).encode())

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Machine:
    """What a new machine finds around it."""

    s3: Any
    environment: dict[str, str]
    programs: Path
    """Programs of the machine that are stand-ins."""

    def boot(
        self, *, patience: str = "0", between: str = "exit 1"
    ) -> subprocess.CompletedProcess[str]:
        """Run the user data; what it does *between* two tries takes the place of its pause."""
        script = user_data(region=REGION, bucket=BUCKET, prefix=PREFIX)
        pause = self.programs / "sleep"
        pause.write_text(f"#!/bin/sh\n{between}\n")
        pause.chmod(0o755)
        path = f"{self.programs}:{os.environ['PATH']}"
        return subprocess.run(
            ["/bin/sh", "-e"],
            input=script.replace("/usr/bin/python3", sys.executable),
            env={**self.environment, "GRAPHISTRY_CLUSTER_PATIENCE": patience, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    def store_agent(self, body: bytes, *, sha256: str | None = None) -> None:
        self.s3.put_object(Bucket=BUCKET, Key="agent/a.pyz", Body=body)
        agent = {"key": "agent/a.pyz", "sha256": sha256 or hashlib.sha256(body).hexdigest()}
        document = {"cluster": "graphistry-cluster/test", "node": "small", "agent": agent}
        self.s3.put_object(
            Bucket=BUCKET, Key=f"{PREFIX}specification.json", Body=json.dumps(document)
        )

    def report(self) -> dict[str, Any]:
        stored = self.s3.get_object(Bucket=BUCKET, Key=f"{PREFIX}report.json")
        document: dict[str, Any] = json.loads(stored["Body"].read())
        return document


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """An AWS of this computer; its tests put back what they make."""
    aws = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    aws.start()
    host, port = aws.get_host_and_port()
    yield f"http://{host}:{port}"
    aws.stop()


@pytest.fixture
def machine(tmp_path: Path, endpoint: str) -> Iterator[Machine]:
    metadata = ThreadingHTTPServer(("127.0.0.1", 0), MetadataService)
    threading.Thread(
        target=metadata.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    ).start()
    s3 = boto3.client(
        "s3",
        region_name=REGION,
        endpoint_url=endpoint,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(s3={"addressing_style": "path"}),
    )
    s3.create_bucket(Bucket=BUCKET)
    programs = tmp_path / "programs"
    programs.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{metadata.server_port}",
        "GRAPHISTRY_CLUSTER_HOME": str(tmp_path / "home"),
    }
    try:
        yield Machine(s3, environment, programs)
    finally:
        for each in s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
            s3.delete_object(Bucket=BUCKET, Key=each["Key"])
        s3.delete_bucket(Bucket=BUCKET)
        metadata.shutdown()
        metadata.server_close()


class FakeStore:
    """The bucket and Secrets Manager in memory, for phases that are run in this process."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.secrets: dict[str, str] = {}
        self.tokens: dict[str, str] = {}
        self.unhealthy: list[str] = []
        self.followers = ["small"]
        self.wishes: dict[str, Ask] = {}

    def get(self, key: str) -> bytes:
        return self.objects[key]

    def of(self, node: str) -> Ask | None:
        return self.wishes.get(node)

    def all(self) -> tuple[list[str], list[Ask]]:
        return self.followers, list(self.wishes.values())

    def write(self, ask: Ask) -> None:
        self.wishes[ask.node] = ask

    def forget(self, node: str) -> str:
        return f"forget {node}"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMachine]:
    with engine(tmp_path) as address:
        monkeypatch.setattr("agent.containers.engine.SOCKET", address)
        yield FakeMachine(tmp_path, monkeypatch)


@pytest.fixture
def make_node(fake: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Node]:
    """A node of the fake machine whose leader answers."""
    store = FakeStore()
    monkeypatch.setattr("agent.data.endpoints.max_connections", lambda *_: 200)
    monkeypatch.setattr("agent.data.endpoints.Redis", FakeRedis)
    monkeypatch.setattr("agent.phases.verify.Redis", FakeRedis)
    monkeypatch.setattr("agent.data.redis_users.Redis", FakeRedis)
    monkeypatch.setattr(FakeRedis, "calls", [])
    monkeypatch.setattr("agent.graphistry.door.find", lambda *_: Door("http://localhost"))
    monkeypatch.setattr("agent.graphistry.web.status", lambda _: 201)
    monkeypatch.setattr("agent.graphistry.web.token", lambda *_: "bearer")
    monkeypatch.setattr("agent.graphistry.web.upload", lambda *_: "dataset")
    monkeypatch.setattr("agent.graphistry.web.delete", lambda *_: None)
    monkeypatch.setattr("agent.graphistry.visualization.opened", contextlib.nullcontext)
    monkeypatch.setattr("agent.sites.aws_site.Secret", lambda _, arn: FakeSecret(store, arn))
    monkeypatch.setattr("agent.sites.aws_site.BucketAsks", lambda *_: store)
    monkeypatch.setattr("agent.replacement.SETTLE_SECONDS", 0)
    monkeypatch.setattr(
        "agent.sites.aws.mark_unhealthy", lambda _, name: store.unhealthy.append(name)
    )

    def make(role: str = "leader", **changes: Any) -> Node:
        specification = read(json.dumps(fake.document(role, **changes)).encode())
        machine = {
            "id": "i-1",
            "type": "g4dn.xlarge",
            "zone": "us-east-1a",
            "address": "10.40.0.10",
        }
        report = Report(
            machine, lambda content: store.objects.update(report=content), fake.home / "report.json"
        )
        node = Node(specification, machine, AwsSite("us-east-1", "documents", "r/"), report)
        node.store = store  # type: ignore[attr-defined]
        return node

    return make


@pytest.fixture
def make_host(fake: FakeMachine, make_node: Callable[..., Node]) -> Callable[..., Node]:
    """A node of the fake machine that is a host, as `deliver` leaves it; needs nothing of AWS."""
    del make_node  # whose leader answers here too

    def make(role: str = "leader", **changes: Any) -> Node:
        content = json.dumps(fake.host_document(role, **changes))
        (fake.home / "wanted.json").write_text(content)
        (fake.home / "specification.json").write_text(content)
        site = HostsSite()
        report = Report(site.instance(), site.store_report, fake.home / "report.json")
        return Node(read(content.encode()), site.instance(), site, report)

    return make


class FakeRedis:
    calls: ClassVar[list[tuple[str, ...]]] = []

    def __init__(self, host: str, port: int, password: str, user: str = "") -> None:
        del host, port, password, user

    def call(self, *words: str) -> str:
        self.calls.append(words)
        return "PONG"

    def __enter__(self) -> "FakeRedis":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""


class FakeSecret:
    """Secrets Manager's rule for one token: the same text again or a refusal."""

    def __init__(self, store: FakeStore, arn: str) -> None:
        self._store, self.arn = store, arn

    def get(self, version: str | None = None) -> str | None:
        return self._store.secrets.get(f"{self.arn}#{version}" if version else self.arn)

    def put(self, text: str, token: str) -> None:
        if self._store.tokens.setdefault(token, text) != text:
            raise AwsError("ResourceExistsException", "another text with this token")
        self._store.secrets[self.arn] = text
