"""Who has a port of telemetry open, read from the engine and from a real kernel, and in which words it is told."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from agent.containers.engine import EVERYWHERE, Published
from agent.graphistry import telemetry
from agent.specification import HostPlace
from tests.agent.test_connections import container

GRAFANA = replace(
    container("grafana", 0),
    published=(
        Published(EVERYWHERE, 3000, 3000),
        Published("127.0.0.1", 9091, 9090),
        Published("::", 8080, 80),
    ),
)


@pytest.fixture(autouse=True)
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.graphistry.connections.PROC", Path("/proc"))


@pytest.mark.parametrize(("address", "is_open"), [("", True), ("127.0.0.1", False)])
def test_programs_and_containers_that_have_a_port_open_are_found(
    monkeypatch: pytest.MonkeyPatch, address: str, is_open: bool
) -> None:
    with socket.create_server((address, 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(telemetry, "PORTS", {3000: "Grafana", 9091: "Prometheus", port: "x"})
        others = {port: "another program"} if is_open else {}
        assert telemetry.found([GRAFANA]) == {3000: "grafana (Grafana)", **others}


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_program_is_found_in_both_families(
    monkeypatch: pytest.MonkeyPatch, family: socket.AddressFamily
) -> None:
    with socket.create_server(("", 0), family=family) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(telemetry, "PORTS", {port: "x"})
        assert telemetry.found([]) == {port: "another program"}


def test_bridges_that_are_no_network_of_dockers_are_other_machines_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("eth0", "docker0", "br-0123456789ab", "br-lan", "br-0123456789az"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(telemetry, "INTERFACES", tmp_path)
    rules = telemetry.rules(HostPlace("10.77.0.10"))
    assert 'iifname "br-*" iifname != { "br-0123456789az", "br-lan" } accept' in rules
    (tmp_path / "br-lan").rmdir()
    (tmp_path / "br-0123456789az").rmdir()
    assert 'iifname "br-*" accept' in telemetry.rules(HostPlace("10.77.0.10"))


def test_a_block_that_is_in_another_is_left_out() -> None:
    rules = telemetry.rules(HostPlace("10.77.0.10", None, ("10.1.0.0/16", "10.0.0.0/8")))
    assert "ip saddr { 10.0.0.0/8 } accept" in rules
