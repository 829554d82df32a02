"""What is done about a GPU that fails: step by step, bounded, and never more than the fault calls for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from agent import report
from agent.converge import converge
from agent.gpu import gpu_care, gpu_record, xid
from agent.gpu.gpu_care import Care, decide, fault
from agent.gpu.gpu_health import note
from agent.gpu.gpu_record import Deed, Record
from agent.gpu.gpus import GpuFailure
from agent.gpu.xid import Action
from agent.node import Node
from agent.repair import Repairs
from agent.watch import _care
from tests.agent.fakes import FakeMachine
from tests.agent.test_xid import HARMLESS, REBOOT, REPLACE, RESET

from .test_converge import claimed, unchanged
from .test_repair import state, unhealthy

MakeNode = Callable[..., Node]
PCI = "0000:3b:00"
NOW = 1_790_000_000.0
TEMPERATURES = """\
==============NVSMI LOG==============

Attached GPUs                             : 2
GPU 00000000:3B:00.0
    Temperature
        GPU Current Temp                  : 34 C
        GPU Max Operating Temp            : 85 C
        Memory Current Temp               : 44 C
        Memory Max Operating Temp         : 95 C
GPU 00000000:5E:00.0
    Temperature
        GPU Current Temp                  : 99 C
        GPU Max Operating Temp            : 85 C
        Memory Current Temp               : N/A
        Memory Max Operating Temp         : 95 C
"""
SCHEMA = json.loads(Path(report.__file__).with_name("node_report.schema.json").read_text())


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.limits.REPAIR", 0)
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
    gpu_care.well(node)
    return node


def write(fake: FakeMachine, *lines: str, ago: float = 0) -> None:
    """Write lines to the kernel log."""
    at = int((time.time() - ago) * 1e6)
    entries = [
        {"__CURSOR": f"s=1;i={index}", "__REALTIME_TIMESTAMP": str(at), "MESSAGE": line}
        for index, line in enumerate(lines)
    ]
    (fake.root / "kernel.json").write_text("".join(f"{json.dumps(each)}\n" for each in entries))


def look(fake: FakeMachine, repairs: Repairs, times: int = 1) -> None:
    """Look, and what was read is not new any more."""
    for _ in range(times):
        repairs.look()
        (fake.root / "kernel.json").unlink(missing_ok=True)


def steps() -> list[str]:
    return [each.step for each in gpu_record.load().deeds]


def resets(fake: FakeMachine) -> int:
    return fake.log("nvidia-smi").count("-r")


def reboots(fake: FakeMachine) -> int:
    return fake.log("systemctl").count("reboot")


def test_harmless_lines_change_nothing(fake: FakeMachine, follower: Node) -> None:
    write(fake, *HARMLESS)
    look(fake, Repairs(follower), 2)
    assert state(follower) == ("ready", None)
    assert (steps(), unhealthy(follower), reboots(fake), resets(fake)) == ([], [], 0, 0)
    events = follower.report.document["gpuEvents"]
    assert len(events) == gpu_record.KEPT_EVENTS
    assert {each["action"] for each in events} == {"application", "record", "cleared"}
    jsonschema.validate(follower.report.document, SCHEMA)


def test_a_gpu_to_be_reset_is_reset_without_its_services(fake: FakeMachine, follower: Node) -> None:
    write(fake, RESET[4])
    repairs = Repairs(follower)
    look(fake, repairs)
    assert state(follower) == ("degraded", "GpuUnhealthy")
    assert "Xid 119 on GPU 0000:19:00" in follower.report.document["failure"]["message"]
    assert resets(fake) == 1
    changing = ("stop", "up -d --no-deps --force-recreate")
    done = [line for line in fake.log("graphistry") if line.startswith(changing)]
    services = "forge-etl-python streamgl-gpu"
    assert done == [f"stop {services}", f"up -d --no-deps --force-recreate {services}"]
    look(fake, repairs)
    assert state(follower) == ("ready", None)
    assert (steps(), unhealthy(follower), reboots(fake)) == (["reset"], [], 0)
    jsonschema.validate(follower.report.document, SCHEMA)


def test_the_kernel_logs_word_needs_no_new_containers_first(
    fake: FakeMachine, follower: Node
) -> None:
    healthy = (fake.root / "gpus").read_text()
    (fake.root / "gpus").write_text(healthy.replace("15360", "[GPU requires reset]"))
    write(fake, RESET[4])
    look(fake, Repairs(follower))
    assert steps() == ["reset"]


def test_a_reset_that_fails_is_followed_by_reboots_and_then_a_person(
    fake: FakeMachine, follower: Node
) -> None:
    (fake.root / "reset-fails").write_text("19")
    write(fake, RESET[4])
    look(fake, Repairs(follower), 6)
    assert steps() == ["reset", "reboot", "reboot"]
    assert unhealthy(follower) == []
    message = follower.report.document["failure"]["message"]
    assert "reset, reboot, reboot did not help; a person has to look" in message


def test_the_drivers_own_verdict_overrides_the_table(fake: FakeMachine, follower: Node) -> None:
    write(fake, REPLACE[0], RESET[0].replace("19", "44"), REBOOT[0].replace("0000:01", "0000:44"))
    look(fake, Repairs(follower))
    assert steps() == ["reboot"]
    assert unhealthy(follower) == []


def test_the_driver_takes_its_verdict_back(fake: FakeMachine, follower: Node) -> None:
    write(fake, RESET[9], HARMLESS[17])
    look(fake, Repairs(follower))
    assert state(follower) == ("ready", None)
    assert steps() == []


def test_a_gpu_off_the_bus_costs_a_follower_its_machine(fake: FakeMachine, follower: Node) -> None:
    write(fake, REPLACE[0])
    look(fake, Repairs(follower), 3)
    assert unhealthy(follower) == ["i-1"]
    assert (steps(), reboots(fake)) == (["replace"], 0)
    assert follower.report.document["replacement"]["state"] == "asked"


def test_a_leader_is_neither_rebooted_nor_replaced(fake: FakeMachine, leader: Node) -> None:
    write(fake, REPLACE[0])
    look(fake, Repairs(leader), 3)
    failure = leader.report.document["failure"]
    assert "the agent does not replace a leader" in failure["message"]
    assert "stop and start" in failure["hint"]
    assert (steps(), unhealthy(leader), reboots(fake)) == ([], [], 0)


@pytest.mark.parametrize(
    ("action", "words", "hint"),
    [
        (Action.REPLACE, "the agent does not replace a host", "power-cycle the host"),
        (Action.REBOOT, "the agent does not reboot a host", "reboot the host"),
    ],
)
def test_a_host_is_neither_rebooted_nor_replaced(
    fake: FakeMachine, make_host: MakeNode, action: Action, words: str, hint: str
) -> None:
    node = make_host("follower")
    gpu_care.well(node)
    told = Care(node).act(GpuFailure("GpuUnhealthy", "Xid 79 on GPU", action, pci=PCI))
    assert words in told.message
    assert hint in told.hint
    assert (steps(), reboots(fake)) == ([], 0)


def test_a_leader_resets_a_gpu(fake: FakeMachine, leader: Node) -> None:
    write(fake, RESET[0])
    repairs = Repairs(leader)
    look(fake, repairs, 2)
    assert state(leader) == ("ready", None)
    assert resets(fake) == 1


def test_lines_from_before_the_agent_were_dealt_with(fake: FakeMachine, follower: Node) -> None:
    write(fake, REPLACE[0], ago=86400)
    look(fake, Repairs(follower))
    assert state(follower) == ("ready", None)


def test_a_reboot_ends_what_the_kernel_log_said(
    fake: FakeMachine, follower: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.limits.GPU_FAULT", 600)
    write(fake, REBOOT[0])
    look(fake, Repairs(follower))
    assert state(follower) == ("degraded", "GpuUnhealthy")
    assert "reboot at" in follower.report.document["failure"]["message"]
    assert steps() == []
    monkeypatch.setattr(gpu_record, "_boot", lambda: "another boot")
    look(fake, Repairs(follower))
    assert state(follower) == ("ready", None)


def test_a_gpu_that_is_missing_after_a_reboot_costs_the_machine(
    fake: FakeMachine, follower: Node
) -> None:
    """As it comes back, the agent converges, and never gets to watch."""
    gpu_record.load().add("reboot", "GpuMissing")
    failure = GpuFailure("GpuMissing", "0 of 1 GPUs are there", Action.REBOOT)
    follower.report.failed("preflight", failure)
    _care(follower, failure)
    assert unhealthy(follower) == ["i-1"]
    document = follower.report.document
    assert document["state"] == "failed"
    assert "the Auto Scaling group replaces this machine" in document["failure"]["message"]


def test_a_machine_that_never_was_ready_is_not_touched(
    fake: FakeMachine, make_node: MakeNode
) -> None:
    node = claimed(fake, make_node)
    failure = GpuFailure("GpuMissing", "0 of 1 GPUs are there", Action.REBOOT)
    told = Care(node).act(failure)
    assert "never was ready" in told.message
    assert "terminate" in told.hint
    assert (steps(), unhealthy(node), reboots(fake)) == ([], [], 0)


def test_a_service_that_is_not_well_after_a_programs_fault_is_made_anew(
    fake: FakeMachine, follower: Node
) -> None:
    write(fake, HARMLESS[0])
    repairs = Repairs(follower)
    look(fake, repairs)
    (fake.root / "states.json").write_text(
        json.dumps({"forge-etl-python": ["running", "unhealthy", 0]})
    )
    repairs.look()
    assert "up -d --no-deps --force-recreate forge-etl-python streamgl-gpu" in fake.log(
        "graphistry"
    )
    assert steps() == []


def test_remapped_rows(fake: FakeMachine, follower: Node) -> None:
    (fake.root / "remapped").write_text("00000000:00:10.0, Yes, No\n")
    look(fake, Repairs(follower))
    assert state(follower) == ("ready", None)
    checks = {each["name"]: each["detail"] for each in follower.report.document["checks"]}
    assert "remapped at the next reboot" in checks["gpuHealth"]
    (fake.root / "remapped").write_text("00000000:00:10.0, No, Yes\n")
    look(fake, Repairs(follower), 2)
    assert state(follower) == ("degraded", "GpuUnhealthy")
    assert unhealthy(follower) == ["i-1"]


def test_a_gpu_is_throttled_after_six_of_ten_minutes(
    fake: FakeMachine, follower: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.gpu.gpu_health.PAUSE_SECONDS", 0)
    (fake.root / "clocks").write_text("00000000:00:10.0, Not Active, Active, Not Active\n")
    repairs = Repairs(follower)
    look(fake, repairs, 5)
    assert state(follower) == ("ready", None)
    look(fake, repairs)
    assert state(follower) == ("degraded", "GpuThrottled")
    (fake.root / "clocks").write_text("00000000:00:10.0, Not Active, Not Active, [N/A]\n")
    look(fake, repairs)
    assert state(follower) == ("ready", None)
    assert (steps(), unhealthy(follower)) == ([], [])


def test_memory_hotter_than_its_card_allows(
    fake: FakeMachine, follower: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.gpu.gpu_health.PAUSE_SECONDS", 0)
    repairs = Repairs(follower)
    (fake.root / "temperatures").write_text(TEMPERATURES)
    look(fake, repairs)
    assert state(follower) == ("ready", None)
    (fake.root / "temperatures").write_text(TEMPERATURES.replace("44 C", "97 C"))
    look(fake, repairs)
    assert state(follower) == ("degraded", "GpuThrottled")
    message = follower.report.document["failure"]["message"]
    assert message == "the memory of GPU 00000000:3B:00.0 has 97 °C; the card allows 95 °C"
    assert (steps(), unhealthy(follower)) == ([], [])


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([(31, "19", 7200.0), (31, "19", 100.0)], "31 2 times in 24 hours on GPU 0000:19:00 only"),
        ([(31, "19", 200.0), (31, "19", 100.0)], ""),  # one burst
        ([(31, "19", 7200.0), (31, "19", 100.0), (31, "44", 90.0)], ""),  # a program's
        ([(31, "19", 90000.0), (31, "19", 100.0)], ""),  # not in one day
        ([(13, "19", 7200.0), (13, "19", 100.0)], ""),
    ],
)
def test_page_faults_of_one_gpu_are_told(
    follower: Node, lines: list[tuple[int, str, float]], told: str
) -> None:
    known, now = gpu_record.load(), time.time()
    for number, bus, ago in lines:
        event = xid.parse(f"NVRM: Xid (PCI:0000:{bus}:00): {number}, pid=1, MMU Fault")
        assert event
        note(known, event, now - ago)
    known.save()
    Repairs(follower).look()
    assert state(follower) == ("ready", None)
    checks = {each["name"]: each["detail"] for each in follower.report.document["checks"]}
    assert told in checks["gpuHealth"]
    assert ("dcgmi" in checks["gpuHealth"]) == bool(told)


def fabric(fake: FakeMachine, version: str, *, starts: bool) -> None:
    (fake.root / "dev").mkdir()
    (fake.root / "dev" / "nvidia-nvswitch0").touch()
    fake.command("nv-fabricmanager", f"echo 'Fabric Manager version is : {version}'")
    script = (fake.root / "bin" / "systemctl").read_text().partition("\n")[2]
    show = 'case "$*" in *ActiveState*fabric*) echo failed; exit;; '
    restart = f'"restart nvidia-fabricmanager.service") exit {0 if starts else 1};; esac'
    fake.command("systemctl", f"{show}{restart}\n{script}")


def test_fabric_manager_is_started(fake: FakeMachine, follower: Node) -> None:
    fabric(fake, "580.126.20", starts=True)
    look(fake, Repairs(follower))
    assert state(follower) == ("ready", None)
    assert follower.report.document["repairs"][-1]["what"] == "fabricManager"


@pytest.mark.parametrize(
    ("version", "words"), [("575.1", "its version is 575.1"), ("580.126.20", "does not start")]
)
def test_fabric_manager_that_does_not_start_costs_no_machine(
    fake: FakeMachine, follower: Node, version: str, words: str
) -> None:
    fabric(fake, version, starts=False)
    look(fake, Repairs(follower), 4)
    assert state(follower) == ("degraded", "FabricManagerDown")
    assert words in follower.report.document["failure"]["message"]
    assert (steps(), unhealthy(follower)) == ([], [])


def record(node: Node, *deeds: Deed) -> Record:
    return Record(ready=node.instance["id"], deeds=list(deeds))


def test_nothing_is_done_before_ten_minutes(
    follower: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.limits.GPU_FAULT", 600)
    failure = GpuFailure("GpuMissing", "3 of 4", Action.REBOOT)
    known = record(follower)
    known.since[fault(failure)] = NOW
    assert decide(failure, NOW + 599, known, follower).step is None
    assert decide(failure, NOW + 600, known, follower).step == "reboot"
    # A shutdown takes a while, and so does a boot.
    known.deeds.append(Deed(NOW + 600, "reboot", fault(failure)))
    assert decide(failure, NOW + 700, known, follower).step is None
    assert decide(failure, NOW + 1200, known, follower).step == "replace"


def test_five_interventions_in_seven_days_are_enough(follower: Node) -> None:
    failure = GpuFailure("GpuUnhealthy", "Xid 46 on GPU 0000:3b:00: x", Action.RESET, pci=PCI)
    others = [Deed(NOW - each, "reset", f"Xid {each} {PCI}") for each in range(5)]
    assert decide(failure, NOW, record(follower, *others[:4]), follower).step == "reset"
    stopped = decide(failure, NOW, record(follower, *others), follower)
    assert stopped.step is None
    assert "5 interventions in 7 days" in stopped.reason
    assert "rm /opt/graphistry-cluster/gpus.json" in (stopped.hint or "")


def test_a_machine_of_another_type_than_wanted_has_no_fault(follower: Node) -> None:
    failure = GpuFailure("GpuMissing", "1 of 4 GPUs are there", Action.REBOOT)
    follower.instance["type"] = "g5.xlarge"
    decision = decide(failure, NOW, record(follower), follower)
    assert decision.step is None
    assert "is a g5.xlarge, the GPU profile wants g4dn.xlarge" in decision.reason


def test_what_was_done_outlives_the_agent_for_seven_days(follower: Node) -> None:
    del follower
    known = gpu_record.load()
    known.deeds.append(Deed(time.time() - gpu_record.KEPT_SECONDS - 1, "reboot", "old"))
    known.add("reset", "new")
    assert [each.fault for each in gpu_record.load().deeds] == ["new"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"deeds": 1}', '{"faults": {"a": 1}}'])
def test_a_damaged_record_is_none(fake: FakeMachine, content: str) -> None:
    (fake.home / "gpus.json").write_text(content)
    assert gpu_record.load().deeds == []


def test_the_worse_fault_of_a_gpu_counts() -> None:
    known = Record()
    for line in (RESET[0], REPLACE[0].replace("44", "19"), RESET[0]):
        event = xid.parse(line)
        assert event
        note(known, event, NOW)
    (found,) = known.faults.values()
    assert (found.xid, found.action) == (79, Action.REPLACE)
