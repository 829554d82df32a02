"""The agent's own process: what it reports, and how it ends."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.failures import Failure
from agent.report import Report
from agent.watch import last_pause
from components.agent_archive import build_archive
from tests.agent.conftest import BUCKET, PREFIX, REGION, Machine
from tests.agent.fakes import specification_document

Start = Callable[[], "subprocess.Popen[str]"]


@pytest.mark.parametrize(
    ("code", "seconds"), [("ReleaseChecksumMismatch", 1800), ("SharedFolderUnmounted", 60)]
)
def test_what_would_fetch_the_release_again_is_tried_seldom(
    tmp_path: Path, code: str, seconds: float
) -> None:
    report = Report({"id": "i-1"}, lambda _: None, tmp_path / "report.json")
    report.failed("release", Failure(code, "it failed"))
    assert last_pause(report) == seconds


@pytest.fixture
def start(machine: Machine, tmp_path: Path) -> Iterator[Start]:
    """The built agent as a process, in a hurry."""
    built = build_archive(tmp_path)
    started = []

    def run() -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, str(built), "run", REGION, BUCKET, PREFIX],
            env={
                **machine.environment,
                "GRAPHISTRY_CLUSTER_POLL_SECONDS": "0.1",
                "GRAPHISTRY_CLUSTER_RETRY_SECONDS": "0.1",
                "GRAPHISTRY_CLUSTER_WATCH_SECONDS": "0.2",
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def store(machine: Machine, text: bytes) -> None:
    machine.s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}specification.json", Body=text)


def until(machine: Machine, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first report that is as *wanted*; fails after 10 s."""
    end = time.monotonic() + 10
    report: dict[str, Any] = {}
    while time.monotonic() < end:
        try:
            report = machine.report()
        except machine.s3.exceptions.NoSuchKey:
            report = {}
        if report and wanted(report):
            return report
        time.sleep(0.05)
    raise AssertionError(f"no such report within 10 s; the last one is {report}")


def test_the_agent_reports_reads_again_and_says_goodbye(machine: Machine, start: Start) -> None:
    store(machine, b"{}")
    process = start()
    report = until(machine, lambda report: report["state"] == "failed")
    assert report["failure"]["code"] == "SpecificationInvalid"
    assert report["specification"] == hashlib.sha256(b"{}").hexdigest()
    second = json.dumps({"schemaVersion": 2}).encode()
    store(machine, second)
    digest = hashlib.sha256(second).hexdigest()
    report = until(machine, lambda report: report["specification"] == digest)
    assert "schemaVersion is 2" in report["failure"]["message"]
    until(machine, lambda later: later["heartbeat"] > report["heartbeat"])
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    assert machine.report()["state"] == "stopped"


def test_another_agent_takes_over_once_it_is_verified(
    machine: Machine, start: Start, document: dict[str, Any]
) -> None:
    other = b"print('the other agent runs')"
    machine.s3.put_object(Bucket=BUCKET, Key="agent/other.pyz", Body=other)
    document["agent"] = {"key": "agent/other.pyz", "sha256": "0" * 64}
    store(machine, json.dumps(document).encode())
    process = start()
    report = until(machine, lambda report: report["state"] == "failed")
    assert report["failure"]["code"] == "AgentChecksumMismatch"
    document["agent"]["sha256"] = hashlib.sha256(other).hexdigest()
    store(machine, json.dumps(document).encode())
    output, _ = process.communicate(timeout=10)
    assert "the other agent runs" in output


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    """A specification that can be read."""
    return specification_document("follower", tmp_path)


class TestHost:
    """On a host, everything comes from its own disk."""

    @pytest.fixture
    def home(self, tmp_path: Path) -> Path:
        found = tmp_path / "home"
        found.mkdir()
        build_archive(tmp_path).rename(found / "agent.pyz")
        return found

    @pytest.fixture
    def process(self, home: Path, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
        environment = {
            "PATH": os.environ["PATH"],
            "GRAPHISTRY_CLUSTER_HOME": str(home),
            "GRAPHISTRY_CLUSTER_STORE": str(tmp_path / "store"),
            "GRAPHISTRY_CLUSTER_POLL_SECONDS": "0.1",
            "GRAPHISTRY_CLUSTER_RETRY_SECONDS": "60",
            "GRAPHISTRY_CLUSTER_WATCH_SECONDS": "0.2",
        }
        (home / "wanted.json").write_text("{}")
        process = subprocess.Popen(
            [sys.executable, str(home / "agent.pyz"), "run", "hosts"],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        yield process
        process.kill()
        process.communicate()

    def until(self, home: Path, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        end = time.monotonic() + 10
        report: dict[str, Any] = {}
        while time.monotonic() < end:
            if (home / "report.json").exists():
                report = json.loads((home / "report.json").read_text())
                if wanted(report):
                    return report
            time.sleep(0.05)
        raise AssertionError(f"no such report within 10 s; the last one is {report}")

    def test_it_reads_what_is_delivered_and_says_goodbye(
        self, home: Path, process: "subprocess.Popen[str]", document: dict[str, Any]
    ) -> None:
        self.until(home, lambda report: report["state"] == "failed")
        document["schemaVersion"] = 2
        text = json.dumps(document)
        (home / "wanted.json").write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        report = self.until(home, lambda report: report["specification"] == digest)
        assert "schemaVersion is 2" in report["failure"]["message"]
        assert report["instance"]["type"] == "host"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
        assert self.until(home, lambda report: report["state"] == "stopped")

    def test_an_agent_that_a_delivery_left_without_a_restart_takes_over(
        self, home: Path, process: "subprocess.Popen[str]", document: dict[str, Any]
    ) -> None:
        """As one that was cut off between the two."""
        self.until(home, lambda report: report["state"] == "failed")
        other = b"print('the other agent runs')"
        document["agent"] = {"sha256": hashlib.sha256(other).hexdigest()}
        document["site"] = {"kind": "hosts", "address": "127.0.0.1"}
        document["sharedFolder"] = {"kind": "path", "path": "/mnt/x"}
        (home / "wanted.json").write_text(json.dumps(document))
        report = self.until(home, lambda report: "agent has" in report["failure"]["message"])
        assert report["failure"]["code"] == "AgentChecksumMismatch"
        (home / "agent.pyz").write_bytes(other)
        document["cluster"] = "again"
        (home / "wanted.json").write_text(json.dumps(document))
        output, _ = process.communicate(timeout=10)
        assert "the other agent runs" in output
