"""The background process: one per directory, found by its lock, never a way to the real AWS."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import botocore.session
import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2_grpc

from sandbox import lifecycle
from sandbox.lifecycle import Sandbox, SandboxError

REAL = {
    "AWS_PROFILE": "production",
    "AWS_DEFAULT_PROFILE": "production",
    "AWS_ACCESS_KEY_ID": "AKIAREAL",
    "AWS_SECRET_ACCESS_KEY": "real",
    "AWS_SESSION_TOKEN": "real",
    "AWS_CONFIG_FILE": "/home/me/.aws/config",
    "AWS_SHARED_CREDENTIALS_FILE": "/home/me/.aws/credentials",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token",
    "AWS_ROLE_ARN": "arn:aws:iam::999999999999:role/real",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials",
    "AWS_ENDPOINT_URL": "https://real.example",
    "AWS_ENDPOINT_URL_S3": "https://s3.real.example",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_EC2_METADATA_DISABLED": "false",
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    directory = tmp_path_factory.mktemp("sandbox")
    yield lifecycle.start(directory)
    lifecycle.stop(directory)


@pytest.fixture
def started() -> Iterator[Callable[..., Sandbox]]:
    directories: set[Path] = set()

    def start(directory: Path, aws_port: int = 0) -> Sandbox:
        directories.add(directory)
        return lifecycle.start(directory, aws_port)

    yield start
    for directory in directories:
        lifecycle.stop(directory)


def test_a_started_sandbox_is_an_aws_and_providers(running: Sandbox) -> None:
    client = boto3.client("sts", **credentials(running))
    assert client.get_caller_identity()["Account"] == "123456789012"
    attached = running.environment({})["PULUMI_DEBUG_PROVIDERS"].split(",")
    assert [each.split(":")[0] for each in attached] == ["aws", "command", "docker"]
    for each in attached:
        name, port = each.split(":")
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = provider_pb2_grpc.ResourceProviderStub(channel)
            version = stub.GetPluginInfo(empty_pb2.Empty(), timeout=10).version
            assert version == importlib.metadata.version(f"pulumi-{name}")


def test_the_stand_in_images_are_there_before_any_deployment(running: Sandbox) -> None:
    client = boto3.client("ssm", **credentials(running))
    path = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04"

    def published() -> bool:
        name = f"{path}/latest/ami-id"
        return bool(client.get_parameters(Names=[name])["Parameters"])

    assert eventually(published)


def test_a_second_start_finds_the_first(running: Sandbox) -> None:
    assert lifecycle.start(running.directory) == running
    assert lifecycle.find(running.directory) == running


def test_the_state_is_for_its_owner_alone(running: Sandbox) -> None:
    mode = (running.directory / "daemon.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_the_process_outlives_the_terminal(running: Sandbox) -> None:
    assert os.getsid(running.pid) == running.pid


def test_two_sandboxes_run_side_by_side(
    running: Sandbox, started: Callable[..., Sandbox], tmp_path: Path
) -> None:
    other = started(tmp_path)
    assert other.identity != running.identity
    boto3.client("s3", **credentials(other)).create_bucket(Bucket="mine")
    assert boto3.client("s3", **credentials(running)).list_buckets()["Buckets"] == []
    assert lifecycle.stop(tmp_path)
    assert lifecycle.find(tmp_path) is None
    assert lifecycle.find(running.directory) == running


def test_a_killed_sandbox_leaves_nothing_that_misleads(
    started: Callable[..., Sandbox], tmp_path: Path
) -> None:
    first = started(tmp_path)
    os.kill(first.pid, signal.SIGKILL)
    assert eventually(lambda: lifecycle.find(tmp_path) is None)
    assert not lifecycle.stop(tmp_path)
    second = started(tmp_path)
    assert second.identity != first.identity
    assert lifecycle.find(tmp_path) == second


def test_a_reused_process_id_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        (tmp_path / "daemon.lock").touch()
        content = {"identity": "x", "aws_endpoint": "http://127.0.0.1:1", "provider_port": 1}
        (tmp_path / "daemon.json").write_text(json.dumps({**content, "pid": stranger.pid}))
        assert lifecycle.find(tmp_path) is None
        assert not lifecycle.stop(tmp_path)
        assert stranger.poll() is None
        stranger.communicate(b"\n")


def test_a_port_in_use_names_its_holder(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(SandboxError, match=f"port {port} .*process {os.getpid()} .*0 for any"):
            lifecycle.start(tmp_path, port)


def test_a_running_sandbox_does_not_move_to_another_port(running: Sandbox) -> None:
    port = urlsplit(running.aws_endpoint).port or 0
    assert lifecycle.start(running.directory, port) == running
    with pytest.raises(SandboxError, match="stop it before"):
        lifecycle.start(running.directory, port + 1)


def test_a_sandbox_whose_directory_is_gone_ends_by_itself(
    started: Callable[..., Sandbox], tmp_path: Path
) -> None:
    sandbox = started(tmp_path)
    (tmp_path / "daemon.json").unlink()
    port = urlsplit(sandbox.aws_endpoint).port or 0
    assert eventually(lambda: not answers(port))


def test_a_stop_waits_for_a_process_that_nothing_names_any_more(
    started: Callable[..., Sandbox], tmp_path: Path
) -> None:
    sandbox = started(tmp_path)
    (tmp_path / "daemon.json").unlink()
    assert lifecycle.stop(tmp_path)
    assert not answers(sandbox.docker_port)


def test_nothing_of_the_user_reaches_an_aws_client(
    running: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in REAL.items():
        monkeypatch.setenv(name, value)
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    session = botocore.session.Session()
    found = session.get_credentials().get_frozen_credentials()
    assert (found.access_key, found.secret_key, found.token or None) == ("sandbox", "sandbox", None)
    for service in ("s3", "ec2", "sts", "ssm"):
        assert session.create_client(service).meta.endpoint_url == running.aws_endpoint


def test_every_dangerous_variable_of_the_user_gets_another_value(running: Sandbox) -> None:
    merged = {**REAL, **running.environment(REAL)}
    assert not {name for name, value in REAL.items() if merged[name] == value}


def test_the_region_of_the_user_stays(running: Sandbox) -> None:
    assert running.environment({"AWS_REGION": "eu-west-1"})["AWS_DEFAULT_REGION"] == "eu-west-1"
    assert running.environment({})["AWS_REGION"] == "us-east-1"


def test_a_proxy_is_not_asked_for_the_sandbox(running: Sandbox) -> None:
    environment = running.environment({"NO_PROXY": "corp.example"})
    assert environment["NO_PROXY"].split(",") == ["corp.example", "127.0.0.1", "localhost"]


def credentials(sandbox: Sandbox) -> dict[str, str]:
    return {
        "endpoint_url": sandbox.aws_endpoint,
        "region_name": "us-east-1",
        "aws_access_key_id": "sandbox",
        "aws_secret_access_key": "sandbox",
    }


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def eventually(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
