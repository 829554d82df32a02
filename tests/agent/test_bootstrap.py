"""The user data's program, run as a machine runs it: against a metadata service and an S3 of this computer."""

import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

from components.aws.agent_archive import build_archive
from components.aws.user_data import user_data

SECRET = "canary-secret-access-key"
BUCKET, PREFIX, REGION = "documents", "nodes/small/", "us-east-1"


class MetadataService(BaseHTTPRequestHandler):
    """A stand-in for the instance metadata service that insists on version 2, as the machines do."""

    def do_PUT(self) -> None:
        self.answer(b"token")

    def do_GET(self) -> None:
        if self.headers["X-aws-ec2-metadata-token"] != "token":
            self.send_error(401)
        elif self.path.endswith("/security-credentials/"):
            self.answer(b"small-role")
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

    def boot(self, *, patience: str = "0") -> subprocess.CompletedProcess[str]:
        script = user_data(region=REGION, bucket=BUCKET, prefix=PREFIX)
        return subprocess.run(
            ["/bin/sh"],
            input=script.replace("/usr/bin/python3", sys.executable),
            env={**self.environment, "GRAPHISTRY_CLUSTER_PATIENCE": patience},
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


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    aws = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    metadata = ThreadingHTTPServer(("127.0.0.1", 0), MetadataService)
    threading.Thread(target=metadata.serve_forever, daemon=True).start()
    aws.start()
    host, port = aws.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    s3 = boto3.client(
        "s3",
        region_name=REGION,
        endpoint_url=endpoint,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(s3={"addressing_style": "path"}),
    )
    s3.create_bucket(Bucket=BUCKET)
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{metadata.server_port}",
        "GRAPHISTRY_CLUSTER_HOME": str(tmp_path / "home"),
    }
    try:
        yield Machine(s3, environment)
    finally:
        for each in s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
            s3.delete_object(Bucket=BUCKET, Key=each["Key"])
        s3.delete_bucket(Bucket=BUCKET)
        aws.stop()
        metadata.shutdown()
        metadata.server_close()


def archive(source: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as zipped:
        zipped.writestr("__main__.py", source)
    return content.getvalue()


def test_the_agent_that_the_specification_names_is_run(machine: Machine) -> None:
    machine.store_agent(archive("import sys; print('agent runs', sys.argv[1:]); sys.exit(7)"))
    done = machine.boot()
    assert "agent runs ['install', 'us-east-1', 'documents', 'nodes/small/']" in done.stdout
    assert done.returncode == 7


def test_an_agent_with_another_checksum_is_refused_and_reported(machine: Machine) -> None:
    machine.store_agent(archive("print('agent runs')"), sha256="0" * 64)
    done = machine.boot()
    assert done.returncode == 1
    assert "agent runs" not in done.stdout
    assert machine.report()["state"] == "failed"
    assert machine.report()["failure"]["code"] == "AgentChecksumMismatch"


def test_a_missing_specification_is_waited_for_and_then_reported(machine: Machine) -> None:
    done = machine.boot(patience="1.5")
    assert done.returncode == 1
    assert "waiting: the specification cannot be read" in done.stdout
    assert machine.report()["failure"]["code"] == "SpecificationUnavailable"


def test_a_missing_agent_is_reported(machine: Machine) -> None:
    machine.store_agent(archive(""))
    machine.s3.delete_object(Bucket=BUCKET, Key="agent/a.pyz")
    assert machine.boot().returncode == 1
    assert machine.report()["failure"]["code"] == "AgentUnavailable"


def test_a_surprise_is_reported_as_well(machine: Machine) -> None:
    machine.s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}specification.json", Body=b"[]")
    assert machine.boot().returncode == 1
    assert machine.report()["failure"]["code"] == "BootstrapCrashed"


def test_no_credential_is_printed(machine: Machine) -> None:
    machine.store_agent(archive("print('agent runs')"), sha256="0" * 64)
    done = machine.boot()
    assert SECRET not in done.stdout + done.stderr
    assert SECRET not in json.dumps(machine.report())


def test_the_agent_reports_the_specification_it_has_read(machine: Machine, tmp_path: Path) -> None:
    built = build_archive(tmp_path)
    machine.store_agent(built.read_bytes())
    subprocess.run(
        [sys.executable, str(built), "run", REGION, BUCKET, PREFIX],
        env=machine.environment,
        check=True,
    )
    stored = machine.s3.get_object(Bucket=BUCKET, Key=f"{PREFIX}specification.json")
    assert machine.report()["specification"] == hashlib.sha256(stored["Body"].read()).hexdigest()
    assert machine.report()["state"] == "converging"


def test_the_archive_has_the_same_bytes_every_time(tmp_path: Path) -> None:
    first = build_archive(tmp_path).read_bytes()
    (tmp_path / "agent.pyz").unlink()
    assert build_archive(tmp_path).read_bytes() == first


def test_user_data_fits_into_what_ec2_takes() -> None:
    script = user_data(region=REGION, bucket="b" * 63, prefix="nodes/" + "n" * 30 + "/")
    assert len(script.encode()) <= 16 * 1024


def test_user_data_names_nothing_but_region_bucket_and_prefix() -> None:
    one = user_data(region=REGION, bucket="b-first", prefix="nodes/first/")
    two = user_data(region=REGION, bucket="b-other", prefix="nodes/other/")
    assert one.replace("first", "other") == two
