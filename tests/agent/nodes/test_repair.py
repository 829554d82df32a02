"""What the watch does about a node that is no longer ready."""

import errno
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from agent.converge import converge
from agent.data.postgres_client import PostgresError
from agent.gpu import gpu_care
from agent.graphistry import telemetry
from agent.graphistry.door import Door
from agent.node import Node
from agent.repair import TRIES, Repairs
from agent.sites.aws import AwsError
from tests.agent.fakes import FakeMachine

from .test_converge import claimed, unchanged

MakeNode = Callable[..., Node]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.limits.REPAIR", 0)
    monkeypatch.setattr("agent.limits.SETTLE", 0)
    monkeypatch.setattr("agent.limits.GPU_FAULT", 0)


@pytest.fixture
def follower(fake: FakeMachine, make_node: MakeNode) -> Node:
    node = claimed(fake, make_node)
    assert converge(node, unchanged)
    gpu_care.well(node)
    return node


@pytest.fixture
def leader(fake: FakeMachine, make_node: MakeNode) -> Node:
    fake.has_volume()
    node = make_node()
    assert converge(node, unchanged)
    return node


def unhealthy(node: Node) -> list[str]:
    found: list[str] = node.store.unhealthy  # type: ignore[attr-defined]
    return found


def state(node: Node) -> tuple[str, str | None]:
    document = node.report.document
    return document["state"], (document["failure"] or {}).get("code")


def http_check(node: Node) -> tuple[bool, str]:
    found = {each["name"]: each for each in node.report.document["checks"]}["http"]
    return found["ok"], found["detail"]


def beyond_all_tries(node: Node) -> Repairs:
    """The watch, after more looks than there are tries."""
    repairs = Repairs(node)
    for _ in range(TRIES + 4):
        repairs.look()
    return repairs


def make_unwell(fake: FakeMachine, health: str) -> None:
    """nexus, now and after whatever is done about it."""
    for name in ("states.json", "unhealthy.json"):
        (fake.root / name).write_text(json.dumps({"nexus": ["running", health, 0]}))


@contextmanager
def unmountable(fake: FakeMachine) -> Iterator[None]:
    """The shared folder is lost, and meanwhile cannot be mounted."""
    (fake.root / "mounts").write_text("")
    script = (fake.root / "bin" / "systemctl").read_text()
    fake.command("systemctl", "exit 1")
    yield
    fake.command("systemctl", script)


def test_a_lost_mount_is_mounted_again_and_its_services_restarted(
    fake: FakeMachine, follower: Node
) -> None:
    (fake.root / "mounts").write_text("")
    repairs = Repairs(follower)
    repairs.look()
    assert state(follower) == ("degraded", "SharedFolderUnmounted")
    assert fake.log("graphistry")[-1] == "restart nexus forge-etl-python"
    repairs.look()
    assert state(follower) == ("ready", None)


def test_on_a_leader_postgres_goes_on_while_the_folder_is_mounted_again(
    fake: FakeMachine, leader: Node
) -> None:
    (fake.root / "mounts").write_text("")
    Repairs(leader).look()
    assert fake.log("graphistry")[-1] == "restart nexus forge-etl-python"
    assert fake.mounted(f"{fake.root}/shared/postgresql_data")


def test_containers_that_lost_the_gpu_are_made_anew(fake: FakeMachine, follower: Node) -> None:
    (fake.root / "container-gpus").write_text("Failed to initialize NVML: Unknown Error")
    repairs = Repairs(follower)
    repairs.look()
    assert state(follower) == ("degraded", "GpuUnavailable")
    last = fake.log("graphistry")[-1]
    assert last == "up -d --no-deps --force-recreate forge-etl-python streamgl-gpu"
    (fake.root / "container-gpus").unlink()
    repairs.look()
    assert state(follower) == ("ready", None)


def test_a_stopped_service_is_started(fake: FakeMachine, follower: Node) -> None:
    states = json.loads((fake.root / "states.json").read_text())
    states["streamgl-viz"] = ["exited", "", 1]
    (fake.root / "states.json").write_text(json.dumps(states))
    repairs = Repairs(follower)
    repairs.look()
    assert "streamgl-viz (exited)" in follower.report.document["failure"]["message"]
    repairs.look()
    assert state(follower) == ("ready", None)


def lose_gpu(fake: FakeMachine) -> None:
    (fake.root / "nvml").write_text("18")


def test_a_follower_beyond_repair_asks_once_to_be_replaced(
    fake: FakeMachine, follower: Node
) -> None:
    lose_gpu(fake)
    beyond_all_tries(follower)
    assert follower.report.document["mayRecover"] is True, "its group replaces it"
    assert state(follower) == ("degraded", "GpuUnavailable")
    assert unhealthy(follower) == ["i-1"]
    tries = [each for each in follower.report.document["repairs"] if "(try" in each["what"]]
    assert len(tries) == TRIES


@pytest.mark.parametrize(
    ("answers", "patience", "replaced"), [(True, 0, ["i-1"]), (True, 600, []), (False, 0, [])]
)
def test_a_folder_that_stays_away_long_is_a_reason_to_be_replaced_only_where_its_server_answers(
    fake: FakeMachine,
    follower: Node,
    monkeypatch: pytest.MonkeyPatch,
    answers: bool,
    patience: float,
    replaced: list[str],
) -> None:
    monkeypatch.setattr("agent.phases.shared_folder.server_answers", lambda _: answers)
    monkeypatch.setattr("agent.limits.PATIENCE", patience)
    with unmountable(fake):
        repairs = beyond_all_tries(follower)
    assert unhealthy(follower) == replaced
    repairs.look()
    repairs.look()
    assert state(follower) == ("ready", None)


def test_services_that_miss_the_shared_folder_are_no_reason_to_be_replaced(
    fake: FakeMachine, follower: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.limits.HEALTH", 0)
    fake.probe_fails(errno.EROFS)
    make_unwell(fake, "starting")
    beyond_all_tries(follower)
    assert state(follower) == ("degraded", "SharedFolderReadOnly")
    assert unhealthy(follower) == []
    assert follower.report.document["mayRecover"] is False


def test_a_leaders_database_is_started_while_the_shared_folder_is_full(
    fake: FakeMachine, leader: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.probe_fails(errno.ENOSPC)

    def refuse(*_: object) -> None:
        raise OSError("connection refused")

    monkeypatch.setattr("agent.data.endpoints.max_connections", refuse)
    Repairs(leader).look()
    assert state(leader) == ("degraded", "SharedFolderFull")
    assert leader.report.document["repairs"][-1]["what"] == "postgres (try 1)"
    assert fake.log("graphistry")[-1] == "up -d"


def test_a_folder_that_comes_back_at_the_last_moment_is_mounted_first(
    fake: FakeMachine, follower: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.phases.shared_folder.server_answers", lambda _: True)
    repairs = Repairs(follower)
    with unmountable(fake):
        for _ in range(TRIES):
            repairs.look()
    repairs.look()
    repairs.look()
    assert state(follower) == ("ready", None)
    assert unhealthy(follower) == []


@pytest.mark.parametrize(("seconds", "replaced"), [(900, []), (0, ["i-1"])])
def test_what_was_started_has_the_time_of_a_boot_before_another_machine_is_asked_for(
    fake: FakeMachine,
    follower: Node,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    replaced: list[str],
) -> None:
    monkeypatch.setattr("agent.limits.HEALTH", seconds)
    make_unwell(fake, "starting")
    beyond_all_tries(follower)
    assert state(follower) == ("degraded", "ServiceUnhealthy")
    assert unhealthy(follower) == replaced


def test_wiring_that_was_changed_is_configured_anew(fake: FakeMachine, follower: Node) -> None:
    (follower.folder / "docker-compose.override.yml").unlink()
    repairs = Repairs(follower)
    repairs.look()
    assert state(follower) == ("degraded", "ComposeOverrideIgnored")
    repairs.look()
    assert state(follower) == ("ready", None)


def test_wiring_that_cannot_be_mended_is_no_reason_to_be_replaced(
    fake: FakeMachine, follower: Node
) -> None:
    (fake.root / "override-ignored").touch()
    (fake.release / "graphistry").touch()  # the release that ignores it is another
    beyond_all_tries(follower)
    assert state(follower) == ("degraded", "ComposeOverrideIgnored")
    assert unhealthy(follower) == []
    assert "given up" in follower.report.document["repairs"][-1]["outcome"]


def test_ports_that_are_open_are_closed_by_configuring_anew_and_no_reason_to_be_replaced(
    fake: FakeMachine, follower: Node
) -> None:
    open_to_all = {"6379/tcp": [{"HostIp": "0.0.0.0", "HostPort": "6379"}]}  # noqa: S104
    shown = fake.root / "inspected.json"
    shown.write_text(json.dumps({"redis": {"NetworkSettings": {"Ports": open_to_all}}}))
    beyond_all_tries(follower)
    assert state(follower) == ("degraded", "PortsOpen")
    assert unhealthy(follower) == []
    outcomes = [each["outcome"] for each in follower.report.document["repairs"]]
    assert "configured anew" in outcomes
    shown.unlink()
    Repairs(follower).look()
    assert state(follower) == ("ready", None)


def is_told_alone(fake: FakeMachine, node: Node, code: str) -> None:
    """It is told, and nothing is restarted or replaced for it."""
    before = len(fake.log("graphistry"))
    beyond_all_tries(node)
    assert state(node) == ("degraded", code)
    assert unhealthy(node) == []
    calls = fake.log("graphistry")[before:]
    assert not [line for line in calls if not line.startswith("config")]


def test_a_database_that_is_elsewhere_is_told_alone(fake: FakeMachine, leader: Node) -> None:
    """It may be the only one that the cluster has."""
    volume = {"Type": "volume", "Source": "/v/_data", "Destination": "/var/lib/postgresql/data"}
    (fake.root / "inspected.json").write_text(json.dumps({"postgres": {"Mounts": [volume]}}))
    is_told_alone(fake, leader, "DatabaseElsewhere")


def test_a_service_that_talks_to_another_redis_is_told_alone(
    fake: FakeMachine, follower: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.graphistry.connections._addresses", lambda _: {"10.40.0.10"})
    fake.connects(os.getpid(), "10.9.9.9:6379")
    is_told_alone(fake, follower, "ConnectedElsewhere")


def test_services_that_miss_the_leader_are_no_reason_to_be_replaced(
    fake: FakeMachine, follower: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("connection refused")

    monkeypatch.setattr("agent.data.endpoints.max_connections", refuse)
    make_unwell(fake, "unhealthy")
    beyond_all_tries(follower)
    assert state(follower) == ("degraded", "LeaderUnreachable")
    assert unhealthy(follower) == []


def test_services_have_time_to_notice_that_the_leader_is_back(
    fake: FakeMachine, follower: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker shows what their last health check has found, which was while the leader was away."""

    def refuse(*_: object) -> None:
        raise OSError("connection refused")

    monkeypatch.setattr("agent.limits.SETTLE", 600)
    make_unwell(fake, "unhealthy")
    repairs = Repairs(follower)
    with monkeypatch.context() as away:
        away.setattr("agent.data.endpoints.max_connections", refuse)
        repairs.look()
    before = fake.log("graphistry")
    repairs.look()
    assert state(follower) == ("degraded", "ServiceUnhealthy")
    assert follower.report.document["mayRecover"] is True
    assert [each for each in fake.log("graphistry")[len(before) :] if each.startswith("up")] == []
    assert follower.report.document["repairs"] == []


@pytest.mark.parametrize(
    ("start", "passed", "is_left"),
    [(240, 300, True), (240, 340, False), (9999, 890, True), (9999, 910, False)],
)
def test_services_have_the_time_that_their_health_check_allows_after_a_restart(
    fake: FakeMachine,
    follower: Node,
    monkeypatch: pytest.MonkeyPatch,
    start: int,
    passed: int,
    is_left: bool,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("connection refused")

    monkeypatch.setattr("agent.limits.SETTLE", 60)
    monkeypatch.setattr("agent.limits.HEALTH", 900)
    check = {"Test": ["CMD", "true"], "StartPeriod": start * 1e9, "Interval": 30e9, "Retries": 3}
    (fake.root / "health-check.json").write_text(json.dumps(check))
    make_unwell(fake, "unhealthy")
    repairs = Repairs(follower)
    with monkeypatch.context() as away:
        away.setattr("agent.data.endpoints.max_connections", refuse)
        repairs.look()
    clock = time.monotonic() + passed
    monkeypatch.setattr("agent.repair.time", SimpleNamespace(monotonic=lambda: clock))
    before = fake.log("graphistry")
    for _ in range(2):
        repairs.look()
        clock += 1
    ups = [each for each in fake.log("graphistry")[len(before) :] if each.startswith("up")]
    assert (not ups) is is_left
    assert state(follower) == ("degraded", "ServiceUnhealthy")


def test_a_leader_beyond_repair_stays_degraded(fake: FakeMachine, leader: Node) -> None:
    lose_gpu(fake)
    repairs = Repairs(leader)
    repairs.look()
    assert leader.report.document["mayRecover"] is True
    for _ in range(TRIES + 1):
        repairs.look()
    assert state(leader)[0] == "degraded"
    assert unhealthy(leader) == []
    assert leader.report.document["mayRecover"] is False


def test_an_unreachable_leader_is_only_waited_for(
    fake: FakeMachine, follower: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("connection refused")

    with monkeypatch.context() as context:
        context.setattr("agent.data.endpoints.max_connections", refuse)
        before = [line for line in fake.log("graphistry") if line.startswith(("up", "restart"))]
        repairs = beyond_all_tries(follower)
        assert follower.report.document["mayRecover"] is True
        assert state(follower) == ("degraded", "LeaderUnreachable")
        after = [line for line in fake.log("graphistry") if line.startswith(("up", "restart"))]
        assert before == after
        assert unhealthy(follower) == []
    repairs.look()
    assert state(follower) == ("ready", None)


def test_asking_to_be_replaced_is_tried_again_while_aws_refuses(
    fake: FakeMachine, follower: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [AwsError("Throttling", "later"), None]

    def refuse_first(*_: object) -> None:
        answer = answers.pop(0)
        if answer:
            raise answer

    monkeypatch.setattr("agent.sites.aws.mark_unhealthy", refuse_first)
    lose_gpu(fake)
    beyond_all_tries(follower)
    assert answers == []


def test_a_postgres_folder_that_lies_open_is_covered_again_without_a_new_mount(
    fake: FakeMachine, leader: Node
) -> None:
    mounts = (fake.root / "mounts").read_text()
    (fake.root / "mounts").write_text(mounts.rsplit("\n", 2)[0] + "\n")
    assert not fake.mounted(f"{fake.root}/shared/postgres_backups")
    starts = len(fake.log("systemctl"))
    repairs = Repairs(leader)
    repairs.look()
    assert state(leader) == ("degraded", "SharedFolderUnmounted")
    repairs.look()
    assert state(leader) == ("ready", None)
    started = [line for line in fake.log("systemctl")[starts:] if line.startswith("start ")]
    assert len(started) == 1
    assert "postgres_backups" in started[0].replace("\\x5f", "_")


DENIED = "mount.nfs4: access denied by server while mounting 127.0.0.1:/"


def test_a_folder_that_is_refused_is_said_to_be_and_costs_no_machine(
    fake: FakeMachine, follower: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.phases.shared_folder.server_answers", lambda _: True)
    repairs = Repairs(follower)
    with unmountable(fake):
        fake.command("journalctl", f"echo '{DENIED}'")
        for _ in range(TRIES + 2):
            repairs.look()
        assert state(follower) == ("degraded", "SharedFolderDenied")
        assert DENIED in follower.report.document["failure"]["message"]
        assert unhealthy(follower) == []
    for _ in range(3):
        repairs.look()
    assert state(follower) == ("ready", None)


def test_a_database_that_answers_is_not_started(
    fake: FakeMachine, leader: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PostgresError("password authentication failed", "28P01")

    monkeypatch.setattr("agent.data.endpoints.max_connections", refuse)
    calls = len(fake.log("graphistry"))
    beyond_all_tries(leader)
    assert state(leader) == ("degraded", "PostgresLoginRefused")
    assert not [line for line in fake.log("graphistry")[calls:] if line.startswith("up")]


def test_what_a_person_restarts_is_told_at_once_and_left_until_the_next_look(
    fake: FakeMachine, follower: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 1000.0
    monkeypatch.setattr("agent.repair.time.monotonic", lambda: clock)
    monkeypatch.setattr("agent.limits.WATCH", 10.0)
    states = (fake.root / "states.json").read_text()
    stopped = json.dumps({**json.loads(states), "streamgl-viz": ["exited", "", 1]})
    calls = fake.log("graphistry")
    repairs = Repairs(follower)
    for at, content in ((1000, stopped), (1002, stopped), (1004, states), (1006, stopped)):
        clock = at
        (fake.root / "states.json").write_text(content)
        repairs.look()
        assert state(follower)[0] == ("ready" if content == states else "degraded")
    assert [each for each in fake.log("graphistry")[len(calls) :] if each.startswith("up")] == []
    clock = 1016
    repairs.look()
    assert fake.log("graphistry")[-1] == "up -d"


def test_containers_that_cannot_be_asked_are_not_made_anew(
    fake: FakeMachine, follower: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.containers.engine.SOCKET", str(fake.root / "none"))
    repairs = Repairs(follower)
    repairs.look()
    assert state(follower) == ("degraded", "DockerUnavailable")
    assert not any("force-recreate" in each for each in fake.log("graphistry"))
    assert not any(each.startswith("restart") for each in fake.log("graphistry"))


def test_pages_that_alone_do_not_answer_replace_no_machine(
    follower: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Caddyfile that is wrong is wrong on another machine too, and a hand's edit would be lost with this one."""
    monkeypatch.setattr("agent.graphistry.web.status", lambda _: 502)
    beyond_all_tries(follower)
    assert state(follower) == ("degraded", "ServiceUnhealthy")
    assert unhealthy(follower) == []
    assert "stays degraded" in follower.report.document["repairs"][-1]["outcome"]


def test_a_redirect_that_leads_nowhere_known_is_alive(
    fake: FakeMachine, follower: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = Door("http://localhost", "http://localhost redirects to https", is_found=False)
    monkeypatch.setattr("agent.graphistry.door.find", lambda *_: door)
    monkeypatch.setattr("agent.graphistry.web.status", lambda _: 308)
    calls = fake.log("graphistry")
    beyond_all_tries(follower)
    assert state(follower) == ("ready", None)
    assert http_check(follower) == (False, "not proven: http://localhost redirects to https")
    assert [each for each in fake.log("graphistry")[len(calls) :] if each.startswith("up")] == []


def test_pages_behind_a_redirect_are_asked_without_caddys_own(
    follower: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "agent.graphistry.door.find",
        lambda *_: Door("http://172.18.0.9", "asked behind it", is_behind=True),
    )
    monkeypatch.setattr("agent.graphistry.web.status", lambda page: 404 if "caddy" in page else 201)
    Repairs(follower).look()
    assert state(follower) == ("ready", None)
    assert http_check(follower)[0]


def test_the_page_by_which_the_door_is_found_is_not_asked_again(
    follower: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def status(page: str) -> int:
        asked.append(page)
        return 201

    monkeypatch.setattr("agent.graphistry.web.status", status)
    monkeypatch.setattr(
        "agent.graphistry.door.find", lambda *_: Door("http://localhost", answered=201)
    )
    Repairs(follower).look()
    assert http_check(follower)[0]
    assert asked == ["/caddy/health/", "/streamgl-gpu/secondary/gpu/health"]
    monkeypatch.setattr(
        "agent.graphistry.door.find", lambda *_: Door("http://localhost", answered=502)
    )
    Repairs(follower).look()
    assert http_check(follower) == (False, "/healthz answers 502")


def test_who_listens_at_the_ports_of_telemetry_is_asked_once_a_while(
    follower: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def found(_: object) -> dict[int, str]:
        looks.append(1)
        return {}

    monkeypatch.setattr(telemetry, "found", found)
    monkeypatch.setattr("agent.limits.GPUS", 60.0)
    repairs = Repairs(follower)
    for _ in range(3):
        repairs.look()
    assert len(looks) == 1
    monkeypatch.setattr("agent.limits.GPUS", 0.0)
    repairs.look()
    assert len(looks) == 2
