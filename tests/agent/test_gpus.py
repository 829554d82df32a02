"""What nvidia-smi answers when a GPU is not well: never taken for a value."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.failures import Failure
from agent.gpu import gpus
from agent.gpu.gpus import GpuFailure
from agent.gpu.xid import Action

GOOD = "0, Tesla T4, 15360, 580.126.20, GPU-a, 00000000:00:1D.0, [N/A]"
SECOND = "1, Tesla T4, 15360, 580.126.20, GPU-b, 00000000:00:1E.0, Disabled"
HANDLE = "Unable to determine the device handle for GPU"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(gpus, "DEVICES", tmp_path / "dev")
    (tmp_path / "dev").mkdir()
    return tmp_path


def says(machine: Path, output: str, status: int = 0, errors: str = "") -> None:
    (machine / "output").write_text(output)
    (machine / "errors").write_text(errors)
    script = f"#!/bin/sh\ncat {machine}/output; cat {machine}/errors >&2; exit {status}\n"
    (machine / "nvidia-smi").write_text(script)
    (machine / "nvidia-smi").chmod(0o755)


def problem(machine: Path, output: str, status: int = 0, errors: str = "") -> GpuFailure:
    says(machine, output, status, errors)
    with pytest.raises(GpuFailure) as raised:
        gpus.read()
    return raised.value


@pytest.mark.parametrize("column", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    "placeholder",
    [
        "[GPU requires reset]",
        "[Unknown Error]",
        "ERR!",
        "[GPU is lost]",
        "[N/A]",
        "N/A",
        "[Not Supported]",
        "[Insufficient Permissions]",
        "",
    ],
)
def test_a_placeholder_is_no_value(machine: Path, column: int, placeholder: str) -> None:
    parts = SECOND.split(", ")
    parts[column] = placeholder
    failure = problem(machine, f"{GOOD}\n{', '.join(parts)}\n")
    assert failure.code == "GpuUnavailable"
    assert "GPU 1" in failure.message
    assert (placeholder or "nothing") in failure.message
    assert failure.action is (Action.RESET if "reset" in placeholder else Action.REBOOT)
    assert ("reset the GPU" if "reset" in placeholder else "replace") in failure.hint


def test_a_gpu_without_memory_is_none(machine: Path) -> None:
    assert "memory.total of GPU 0" in problem(machine, GOOD.replace("15360", "0")).message


@pytest.mark.parametrize(
    ("line", "which"),
    [
        (f"{HANDLE} 0000:3B:00.0: Unknown Error", "GPU 0000:3B:00.0: Unknown Error"),
        (f"{HANDLE}0000:B1:00.0: Unknown Error", "GPU0000:B1:00.0: Unknown Error"),
        (
            f"{HANDLE} 0000:02:00.0: GPU is lost.  Reboot the system to recover this GPU",
            "GPU is lost",
        ),
    ],
)
@pytest.mark.parametrize("status", [0, 15, 255])
def test_a_gpu_without_a_handle_is_named(machine: Path, line: str, which: str, status: int) -> None:
    for failure in (
        problem(machine, f"{GOOD}\n{line}\n", status),
        problem(machine, GOOD, status, line),
    ):
        assert failure.code == "GpuUnavailable"
        assert which in failure.message


@pytest.mark.parametrize(
    "noise",
    [
        "WARNING: infoROM is corrupted at gpu 0000:01:00.0",
        "Warning: persistence mode is disabled on device 00000000:00:1E.0.",
        "",
    ],
)
def test_warnings_are_no_gpus_and_no_failure(machine: Path, noise: str) -> None:
    status = gpus.CORRUPT_INFOROM if "infoROM" in noise else 0
    says(machine, f"{noise}\n{GOOD}\n{SECOND}\n", status, "some warning\n")
    assert [(each.index, each.memory_mib, each.uuid) for each in gpus.read()] == [
        (0, 15360, "GPU-a"),
        (1, 15360, "GPU-b"),
    ]


@pytest.mark.parametrize(
    ("status", "words", "action"),
    [
        (6, "No devices were found", Action.REBOOT),
        (
            9,
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
            Action.REBOOT,
        ),
        (15, "GPU is lost", Action.REBOOT),
        (16, "GPU requires reset", Action.RESET),
        (18, "Failed to initialize NVML: Driver/library version mismatch", Action.REBOOT),
        (255, "", Action.REBOOT),
        (8, "power cables", Action.HUMAN),
    ],
)
def test_a_status_says_what_may_help(
    machine: Path, status: int, words: str, action: Action
) -> None:
    failure = problem(machine, words, status)
    assert failure.code == "GpuUnavailable"
    assert (words or f"status {status}") in failure.message
    assert failure.action is action


def test_a_driver_older_than_mig_is_too_old(machine: Path) -> None:
    says(machine, 'Field "mig.mode.current" is not a valid field to query.', 2)
    with pytest.raises(Failure) as raised:
        gpus.read()
    assert raised.value.code == "DriverTooOld"


def test_a_partitioned_gpu_is_refused(machine: Path) -> None:
    failure = problem(machine, f"{GOOD}\n{SECOND.replace('Disabled', 'Enabled')}\n")
    assert failure.code == "GpuPartitioned"
    assert "GPU 1 (00000000:00:1E.0)" in failure.message
    assert "nvidia-smi -mig 0" in failure.hint
    assert failure.action is Action.HUMAN


def test_a_probe_that_hangs_is_a_failure_and_tried_three_times(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.limits.PROBE", 0.2)
    monkeypatch.setattr(gpus, "PROCESSES", machine / "proc")
    says(machine, "")
    (machine / "nvidia-smi").write_text(f"#!/bin/sh\necho x >> {machine}/tries; exec sleep 60\n")
    with pytest.raises(GpuFailure) as raised:
        gpus.read()
    assert "nvidia-smi hangs" in raised.value.message
    assert raised.value.action is Action.REBOOT
    assert (machine / "tries").read_text().count("x") == 3


def test_no_second_probe_piles_up_behind_one_that_cannot_be_killed(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "PROCESSES", machine / "proc")
    monkeypatch.setattr(gpus, "_stuck", {"nvidia-smi"})
    stuck = machine / "proc" / "77"
    stuck.mkdir(parents=True)
    (stuck / "stat").write_text("77 (nvidia-smi) D 1 77 77")
    says(machine, GOOD)
    with pytest.raises(GpuFailure, match="hangs"):
        gpus.read()
    (stuck / "stat").write_text("77 (nvidia-smi) S 1 77 77")
    assert len(gpus.read()) == 1


@pytest.mark.parametrize(
    ("found", "wanted", "of_type", "files", "words"),
    [
        (3, 4, 0, 0, "3 of 4 GPUs are there"),
        (3, 4, 4, 4, "3 of 4 GPUs are there"),
        (7, 6, 8, 7, r"7 of 8 GPUs are there \(this instance type has: 8, device files: 7\)"),
        (1, 1, 0, 2, r"1 of 2 GPUs are there \(device files: 2\)"),
        (2, 2, 0, 0, None),
        (8, 6, 8, 8, None),
        (2, 1, 0, 2, None),
    ],
)
def test_the_number_of_gpus_has_three_sources(
    machine: Path, found: int, wanted: int, of_type: int, files: int, words: str | None
) -> None:
    for index in range(files):
        (machine / "dev" / f"nvidia{index}").touch()
    for other in ("nvidiactl", "nvidia-uvm", "nvidia-modeset"):
        (machine / "dev" / other).touch()
    says(machine, "".join(f"{index}{GOOD[1:]}\n" for index in range(found)))
    seen = gpus.read()
    if words is None:
        gpus.require(seen, wanted, of_type)
        return
    with pytest.raises(GpuFailure, match=f"^{words}$") as raised:
        gpus.require(seen, wanted, of_type)
    assert raised.value.code == "GpuMissing"
