"""The stand-in for Pulumi's `docker` provider: what it refuses, and what a change means. No Docker needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pulumi import _types as sdk
from pulumi.runtime.proto import provider_pb2

from sandbox.provider import docker_host, docker_provider
from sandbox.provider.docker_host import Access
from sandbox.provider.docker_provider import CONTAINER, IMAGE, VOLUME, DockerProvider
from sandbox.provider.values import UNKNOWN, RefusalError, from_wire, to_wire
from tests.sandbox.engine import Connection, RefusedError, urn

DIGEST = f"@sha256:{'0' * 64}"
HOST = "ssh://ubuntu@127.0.0.1:2222"
RIGHT: dict[str, dict[str, Any]] = {
    IMAGE: {"name": f"postgres:16{DIGEST}", "keepLocally": True},
    VOLUME: {"name": "data"},
    CONTAINER: {
        "name": "postgres",
        "image": "sha256:1",
        "ports": [{"internal": 5432, "external": 5432, "ip": "10.77.0.10"}],
        "volumes": [
            {"volumeName": "data", "containerPath": "/data"},
            {"hostPath": "/opt/file", "containerPath": "/file", "readOnly": True},
        ],
        "envs": ["A=b"],
        "healthcheck": {"tests": ["CMD", "true"], "interval": "1m30s", "retries": 3},
        "restart": "unless-stopped",
        "wait": True,
        "waitTimeout": 30,
        "destroyGraceSeconds": 60,
    },
}


@pytest.fixture
def provider(tmp_path: Path) -> DockerProvider:
    return DockerProvider(tmp_path, None)


def problems(provider: DockerProvider, token: str, inputs: dict[str, Any]) -> list[str]:
    request = provider_pb2.CheckRequest(urn=urn(token), news=to_wire(inputs, []))
    return [each.property for each in provider.Check(request, Connection("it")).failures]


@pytest.mark.parametrize("token", RIGHT)
def test_what_the_program_says_is_taken(provider: DockerProvider, token: str) -> None:
    assert problems(provider, token, RIGHT[token]) == []
    unknown = dict.fromkeys(RIGHT[token], UNKNOWN)
    assert problems(provider, token, unknown) == []


@pytest.mark.parametrize(
    ("token", "inputs", "problem"),
    [
        (IMAGE, {"pullTriggers": ["a"]}, "pullTriggers"),
        (IMAGE, {"name": "postgres:16"}, "name"),
        (IMAGE, {"name": f"nginx{DIGEST}"}, "name"),
        (VOLUME, {"driver": "nfs"}, "driver"),
        (CONTAINER, {"networkMode": "host"}, "networkMode"),
        (CONTAINER, {"privileged": True}, "privileged"),
        (CONTAINER, {"colour": "red"}, "colour"),
        (CONTAINER, {"envs": "A=b"}, "envs"),
        (CONTAINER, {"ports": [{"external": 1}]}, "ports[0].internal"),
        (CONTAINER, {"volumes": [{"containerPath": "/a"}]}, "volumes[0]"),
        (
            CONTAINER,
            {"volumes": [{"fromContainer": "a", "containerPath": "/"}]},
            "volumes.fromContainer",
        ),
        (CONTAINER, {"healthcheck": {"tests": ["CMD"], "interval": "5"}}, "healthcheck.interval"),
        (CONTAINER, {"healthcheck": {"interval": "5s"}}, "healthcheck.tests"),
        (CONTAINER, {"restart": "sometimes"}, "restart"),
    ],
)
def test_what_is_not_carried_out_is_refused(
    provider: DockerProvider, token: str, inputs: dict[str, Any], problem: str
) -> None:
    assert problems(provider, token, {**RIGHT[token], **inputs}) == [problem]


@pytest.mark.parametrize(
    ("token", "missing"), [(IMAGE, "name"), (VOLUME, "name"), (CONTAINER, "image")]
)
def test_what_is_missing_is_told(provider: DockerProvider, token: str, missing: str) -> None:
    inputs = {name: value for name, value in RIGHT[token].items() if name != missing}
    assert problems(provider, token, inputs) == [missing]


def test_a_wait_for_nothing_is_refused(provider: DockerProvider) -> None:
    inputs = {name: value for name, value in RIGHT[CONTAINER].items() if name != "healthcheck"}
    assert problems(provider, CONTAINER, inputs) == ["healthcheck"]


def test_another_type_is_refused(provider: DockerProvider) -> None:
    with pytest.raises(RefusedError, match="docker:index/network:Network"):
        problems(provider, "docker:index/network:Network", {})


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "ssh://user@host:port"),
        ({"host": "unix:///var/run/docker.sock"}, "ssh://user@host:port"),
        ({"host": "ssh://ubuntu@host:port"}, "ssh://user@host:port"),
        ({"host": HOST, "registryAuth": "[]"}, "does not model this setting"),
        ({"host": HOST, "sshOpts": "-v"}, "a list of strings"),
    ],
)
def test_a_wrong_setting_of_the_provider_is_refused(
    provider: DockerProvider, settings: dict[str, str], reason: str
) -> None:
    check = provider_pb2.CheckRequest(news=to_wire(settings, []))
    assert reason in provider.CheckConfig(check, Connection("it")).failures[0].reason
    request = provider_pb2.ConfigureRequest(args=to_wire(settings, []))
    with pytest.raises(RefusedError, match=reason):
        provider.Configure(request, Connection("it"))


def test_without_machines_it_says_so(provider: DockerProvider) -> None:
    settings = {"host": HOST, "sshOpts": json.dumps(["-v"])}
    request = provider_pb2.ConfigureRequest(args=to_wire(settings, []))
    with pytest.raises(RefusedError, match="boots no machines"):
        provider.Configure(request, Connection("it"))


def test_a_host_that_is_gone_is_told_in_the_real_ones_words(tmp_path: Path) -> None:
    (tmp_path / "machines").mkdir()
    access = Access("ssh://ubuntu@127.0.0.1:1", ("-o", "ConnectTimeout=2"))
    with pytest.raises(RefusalError) as refused:
        docker_host.machine(tmp_path, access)
    assert str(refused.value).startswith(
        "Error pinging Docker server: error during connect: command [ssh -l ubuntu -p 1 -o"
        " ConnectTimeout=2 -- 127.0.0.1 docker system dial-stdio] has exited with exit status 255"
    )


@pytest.mark.parametrize(
    ("token", "change", "replaced"),
    [
        (CONTAINER, {}, []),
        (CONTAINER, {"restart": "no"}, []),
        (CONTAINER, {"waitTimeout": 31}, []),
        (CONTAINER, {"destroyGraceSeconds": 61}, []),
        (CONTAINER, {"healthcheck": {"tests": ["CMD", "false"]}}, []),
        (CONTAINER, {"image": "sha256:2"}, ["image"]),
        (CONTAINER, {"envs": ["A=c"]}, ["envs"]),
        (IMAGE, {"keepLocally": False}, []),
        (IMAGE, {"name": f"postgres:17{DIGEST}"}, ["name"]),
        (VOLUME, {"name": "other"}, ["name"]),
    ],
)
def test_a_change_replaces_what_docker_cannot_change(
    provider: DockerProvider, token: str, change: dict[str, Any], replaced: list[str]
) -> None:
    answer = provider.Diff(
        provider_pb2.DiffRequest(
            urn=urn(token),
            old_inputs=to_wire(RIGHT[token], []),
            news=to_wire({**RIGHT[token], **change}, []),
        ),
        Connection("it"),
    )
    assert list(answer.diffs) == list(change)
    assert list(answer.replaces) == replaced


@pytest.mark.parametrize("token", RIGHT)
def test_a_preview_needs_no_host(provider: DockerProvider, token: str) -> None:
    request = provider_pb2.CreateRequest(
        urn=urn(token), preview=True, properties=to_wire(RIGHT[token], [])
    )
    planned = from_wire(provider.Create(request, Connection("it")).properties)[0]
    assert planned["name"] == RIGHT[token]["name"]
    if token == IMAGE:
        assert planned["imageId"] == UNKNOWN


@pytest.mark.parametrize("token", docker_provider.MODELLED)
def test_every_input_of_the_table_is_one_of_the_sdk(token: str) -> None:
    arguments, _ = docker_provider._CLASSES[token]
    known = sdk.input_type_types(arguments)
    assert docker_provider.MODELLED[token].keys() <= known.keys()
