"""Lines of real kernel logs (forums, issues, tests of gpud and NVSentinel): what each calls for, and never more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.gpu import kernel_log, xid
from agent.gpu.xid import Action

RESET = [
    "NVRM: Xid (PCI:0000:19:00): 62, 32260b5e 000154b0 00000000 2026da96 202b5626 202b5832 202b5872",
    "NVRM: Xid (PCI:0000:01:00): 95, pid=7062, Uncontained: LTC TAG (0x2,0x0). RST: Yes, D-RST: No",
    "NVRM: Xid (PCI:0000:37:00): 95, pid=5171, Uncontained: FBHUB. RST: Yes, D-RST: No",
    "NVRM: Xid (PCI:0000:0f:00): 64, pid='<unknown>', name=<unknown>, Row Remapper Error: (0x00000002eebc4100)"
    " - All reserved rows for bank are remapped",
    "NVRM: Xid (PCI:0000:19:00): 119, pid=452531, name=cache_mgr_main, Timeout after 6s of waiting for RPC"
    " response from GPU0 GSP! Expected function 76 (GSP_RM_CONTROL) (0x20809004 0x608).",
    "NVRM: Xid (PCI:0000:01:00): 120, GSP kernel exception: store access page fault (cause:0xf)"
    " @ pc:0xffffffff93003d42, partition:4#0",
    "NVRM: Xid (PCI:0000:2a:00): 140, pid='<unknown>', name=<unknown>, An uncorrectable ECC error detected"
    " (possible firmware handling failure) DRAM:0, LTC:0, MMU:0, PCIE:0)",
    "NVRM: Xid (PCI:0000:cb:00): 109, pid=1797828, name=pt_main_thread, Ch 00000008,"
    " errorString CTX SWITCH TIMEOUT, Info 0x58005",
    "NVRM: Xid (PCI:0000:07:00): 48, pid='<unknown>', name=<unknown>, An uncorrectable double bit error (DBE)"
    " has been detected on GPU in the framebuffer at physAddr 0x7fdf0de80 partition 5, subpartition 1",
    "NVRM: Xid (PCI:0000:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)",
    "NVRM: Xid (PCI:0000:0d:00): 154, GPU recovery action changed from 0x0 (None) to 0x1 (PF FLR)",
    "NVRM: Xid (PCI:0009:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x4 (Drain and Reset)",
    "NVRM: Xid (PCI:0019:01:00): 154, GPU recovery action changed from 0x4 (Drain and Reset)"
    " to 0x1 (GPU Reset Required)",
]
REBOOT = [
    "NVRM: Xid (PCI:0000:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)",
    "NVRM: Xid (PCI:0000:02:00): 154, Node Reboot Required",
]
REPLACE = [
    "NVRM: Xid (PCI:0000:44:00): 79, GPU has fallen off the bus",
    "[111111111.111] NVRM: Xid (PCI:0000:05:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
    "NVRM: GPU 0000:29:00.0: GPU has fallen off the bus.",
    "NVRM: The NVIDIA GPU 0000:b3:00.0\n               NVRM: (PCI ID: 10de:26b5) installed in this system has\n"
    "               NVRM: fallen off the bus and is not responding to commands.",
    "NVRM: GPU at 0000:01:00.0 has fallen off the bus.",
    "[449410.332316] NVRM: Xid (PCI:0003:00:00): 74, pid='<unknown>', name=<unknown>, NVLink: fatal error"
    " detected on link 14(0x0, 0x0, 0x10000, 0x0, 0x0, 0x0, 0x0)",
]
HARMLESS = [
    "NVRM: Xid (PCI:0000:cb:00): 13, pid='<unknown>', name=<unknown>, Graphics SM Warp Exception on"
    " (GPC 7, TPC 0, SM 1): Out Of Range Address",
    "NVRM: Xid (PCI:0002:00:00): 13, pid=2519562, name=python3, Graphics Exception: ChID 000c, Class 0000cbc0,"
    " Offset 00000000, Data 00000000",
    "NVRM: Xid (PCI:0001:00:00): 31, Graphics SM Warp Exception on (GPC 1, TPC 0, SM 0): Misaligned Address",
    "NVRM: Xid (PCI:0000:ca:00): 31, pid=1587983, name=exe, Ch 0000000a, intr 00000000. MMU Fault: ENGINE"
    " GRAPHICS GPC5 GPCCLIENT_T1_5 faulted @ 0x2ae1_d6600000. Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_WRITE",
    "NVRM: Xid (PCI:0000:01:00): 94, pid=7062, Contained: CE User Channel (0x9). RST: No, D-RST: No",
    "NVRM: Xid (PCI:0000:01:00 GPU-I:05): 94, pid=7194, Contained: CE User Channel (0x9). RST: No, D-RST: No",
    "NVRM: Xid (PCI:0000:0f:00): 94, pid=2503421, name=python3, Ch 00000008",
    "NVRM: Xid (PCI:0000:02:00): 43, pid=2381615, name=python3",
    "NVRM: Xid (PCI:0000:a2:00): 43, pid=146240, name=VLLM::Worker, channel 0x00000008",
    "NVRM: Xid (PCI:0000:19:00): 45, pid=2864945, name=kit, Ch 0000000b",
    "NVRM: Xid (PCI:0000:61:00): 45, pid=1496200, name=distprovers-gpu, Ch 0000000f",
    "NVRM: Xid (PCI:0000:10:1c): 63, pid=1896, Row Remapper: New row marked for remapping, reset gpu to activate.",
    "NVRM: Xid (PCI:0000:00:1e): 92, SM SBE interrupt storm detected",
    "Feb 01 14:25:31 archbox kernel: NVRM: Xid (PCI:0000:01:00): 38, pid=1659,",
    "NVRM: Xid (PCI:0000:04:00): 69, pid=34566, name=python3, BAR1 access failure at address 0xffff80001234abcd",
    "[...] NVRM: Xid (0000:03:00): 14, Channel 00000001",
    "NVRM: Xid (PCI:0000:05:00): 99999, unknown error",
    "NVRM: Xid (PCI:0000:01:00): 154, GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)",
    "[Tue Jun 17 2025] NVRM: Xid (PCI:0008:01:00): 145, RLW_SRC_TRACK Nonfatal XC1 i0 Link 00-17",
    # Not Xids at all.
    "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  570.158.01  Release Build",
    "NVRM: GPU at PCI:0000:01:00: GPU-aeab3757-56a6-7e30-3f7c-1f322454bde2",
    "NVRM: GPU Board Serial Number: 0322518027985",
    "NVRM: Xid error: xyz, invalid data",
    "nvidia-peermem nv_get_p2p_free_callback:127 ERROR detected invalid context, skipping further processing",
    "python3[99]: log of a program: GPU has fallen off the bus, Xid 79",
]


@pytest.mark.parametrize(
    ("line", "action"),
    [
        *((line, Action.RESET) for line in RESET),
        *((line, Action.REBOOT) for line in REBOOT),
        *((line, Action.REPLACE) for line in REPLACE),
        (
            "NVRM: Xid (PCI:0009:01:00): 149, NETIR_LINK_EVT  Fatal   XC0 i0 Link 01 (0x021425c6 0x00000000)",
            Action.HUMAN,
        ),
        (
            "NVRM: Xid (PCI:0009:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x9 (Sing)",
            Action.HUMAN,
        ),
    ],
)
def test_what_a_fatal_line_calls_for(line: str, action: Action) -> None:
    event = xid.parse(line)
    assert event is not None
    assert event.action is action


@pytest.mark.parametrize("line", HARMLESS)
def test_a_harmless_line_costs_no_machine(line: str) -> None:
    event = xid.parse(line)
    assert event is None or event.action < Action.HUMAN


def test_there_are_twenty_of_each() -> None:
    assert len(RESET) + len(REBOOT) + len(REPLACE) >= 20
    assert len(HARMLESS) >= 20


def test_a_gpu_has_one_address_in_kernel_log_and_nvidia_smi() -> None:
    event = xid.parse(REPLACE[3])
    assert event is not None
    assert event.pci == "0000:b3:00" == xid.address("00000000:B3:00.0") == xid.address("b3:00")


def entry(number: int, message: object) -> str:
    return json.dumps(
        {
            "__CURSOR": f"s=1;i={number}",
            "__REALTIME_TIMESTAMP": str(1_790_000_000_000_000 + number),
            "MESSAGE": message,
        }
    )


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for commands, the first on the path; no container."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(kernel_log, "CONTAINER", tmp_path / "none")
    monkeypatch.setattr(kernel_log, "KMSG", tmp_path / "kmsg")
    return tmp_path


def command(folder: Path, script: str) -> None:
    (folder / "journalctl").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "journalctl").chmod(0o755)


def test_the_journal_is_asked_for_what_is_new(commands: Path) -> None:
    lines = [entry(1, "usb 1-1: new device"), entry(2, REPLACE[0]), entry(3, [1, 2])]
    (commands / "out").write_text("\n".join([*lines, "{cut"]))
    command(commands, f'echo "$@" >> {commands}/log; cat {commands}/out')
    news = kernel_log.read("")
    assert news is not None
    assert [line.text for line in news.lines] == [REPLACE[0]]
    assert news.cursor == "s=1;i=3"
    (commands / "out").write_text("")
    again = kernel_log.read(news.cursor)
    assert again is not None
    assert again.lines == []
    assert again.cursor == news.cursor
    first, second = (commands / "log").read_text().splitlines()
    assert "--after-cursor" not in first
    assert "--after-cursor=s=1;i=3" in second


def test_a_cursor_that_was_rotated_away_begins_anew(commands: Path) -> None:
    (commands / "out").write_text(entry(9, REPLACE[0]))
    command(commands, f'case "$*" in *after-cursor*) exit 1;; *) cat {commands}/out;; esac')
    news = kernel_log.read("s=0;i=1")
    assert news is not None
    assert news.cursor == "s=1;i=9"
    assert len(news.lines) == 1


def test_without_a_journal_the_kernels_own_buffer_is_read(commands: Path) -> None:
    command(commands, "exit 0")
    kmsg = commands / "kmsg"
    kmsg.write_text(
        "6,100,5000000,-;usb 1-1: new device\n SUBSYSTEM=usb\n"
        "3,101,6000000,-;NVRM: The NVIDIA GPU 0000:b3:00.0\\x0aNVRM: (PCI ID: 10de:26b5) installed in this"
        " system has\\x0aNVRM: fallen off the bus and is not responding to commands.\n"
    )
    news = kernel_log.read("")
    assert news is not None
    (line,) = news.lines
    event = xid.parse(line.text)
    assert event is not None
    assert event.xid == 79
    with kmsg.open("a") as stream:
        stream.write(f"3,102,7000000,-;{HARMLESS[0]}\n")
    later = kernel_log.read(news.cursor)
    assert later is not None
    assert [each.text for each in later.lines] == [HARMLESS[0]]
    assert later.lines[0].at - line.at == pytest.approx(1, abs=0.2)


def test_a_container_sees_no_kernel_log_of_its_own(
    commands: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (commands / "container").touch()
    monkeypatch.setattr(kernel_log, "CONTAINER", commands / "container")
    command(commands, f"echo '{entry(1, REPLACE[0])}'")
    assert kernel_log.read("") is None
