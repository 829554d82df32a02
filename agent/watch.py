"""The agent's life: converge to the specification, then see to it that the node stays so."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from agent import aws, limits
from agent.converge import converge, crash
from agent.failures import Failure
from agent.node import HOME, Node, write_private
from agent.repair import Repairs
from agent.report import TRANSIENT, Report
from agent.specification import Specification, read


class Stopped(BaseException):
    """systemd wants the agent to end."""


class Source:
    """The specification in the bucket."""

    def __init__(self, bucket: aws.Bucket, key: str) -> None:
        self._bucket = bucket
        self._key = key
        self._tag: str | None = None
        self._last = 0.0
        self.content: bytes | None = None

    def poll(self) -> bool:
        """Whether the document is another than at the last call that said so; asks every POLL seconds."""
        if self.content is not None and time.monotonic() - self._last < limits.POLL:
            return False
        self._last = time.monotonic()
        try:
            found = self._bucket.get_if_changed(self._key, self._tag)
        except TRANSIENT as error:
            print(f"the specification cannot be read: {error}", flush=True)
            return False
        if found is None:
            return False
        content, self._tag = found
        if content == self.content:
            return False
        self.content = content
        return True


def run(region: str, bucket_name: str, prefix: str) -> None:
    """Run until systemd ends it."""
    signal.signal(signal.SIGTERM, _stop)
    HOME.mkdir(parents=True, exist_ok=True)
    HOME.chmod(0o700)
    session = aws.Aws(region)
    bucket = aws.Bucket(session, bucket_name)
    instance = _instance()
    report = Report(
        instance, lambda content: bucket.put(f"{prefix}report.json", content), HOME / "report.json"
    )
    report.start_heartbeat()
    try:
        _live(session, bucket, Source(bucket, f"{prefix}specification.json"), instance, report)
    except Stopped:
        report.state("stopped", report.document["failure"])


def _live(
    session: aws.Aws, bucket: aws.Bucket, source: Source, instance: dict[str, str], report: Report
) -> None:
    node: Node | None = None
    repairs: Repairs | None = None
    next_converge, pause = 0.0, limits.RETRY_FIRST
    next_look = 0.0
    is_new = False
    while True:
        if source.poll() or is_new:
            is_new = False
            next_converge, pause, repairs = 0.0, limits.RETRY_FIRST, None
        now = time.monotonic()
        if source.content is not None and repairs is None and now >= next_converge:
            node = _node(session, bucket, instance, report, source.content)

            def changed() -> bool:
                nonlocal is_new
                is_new = is_new or source.poll()
                return is_new

            if node and converge(node, changed):
                repairs = Repairs(node)
                next_look = time.monotonic() + limits.WATCH
            elif not is_new:
                next_converge = time.monotonic() + pause
                pause = min(pause * 2, limits.RETRY_LAST)
        elif repairs is not None and now >= next_look:
            try:
                repairs.look()
            except Exception as error:
                report.degraded(error if isinstance(error, Failure) else crash(error))
            next_look = time.monotonic() + limits.WATCH
        time.sleep(min(1.0, limits.POLL, limits.WATCH))


def _node(
    session: aws.Aws,
    bucket: aws.Bucket,
    instance: dict[str, str],
    report: Report,
    content: bytes,
) -> Node | None:
    """The node that the document describes; None, and a failed report, where it cannot be used."""
    try:
        specification = read(content)
        _replace_agent(bucket, specification, report)
    except Exception as error:
        failure = error if isinstance(error, Failure) else crash(error)
        print(f"failed: {failure.code}: {failure.message}", flush=True)
        report.set(specification=hashlib.sha256(content).hexdigest())
        report.failed("bootstrap", failure)
        return None
    write_private(HOME / "specification.json", specification.text)
    return Node(specification, instance, session, bucket, report)


def _replace_agent(bucket: aws.Bucket, specification: Specification, report: Report) -> None:
    """Become the agent that the specification names, if this is another one."""
    archive = Path(sys.argv[0]).resolve()
    if archive.suffix != ".pyz" or _digest(archive.read_bytes()) == specification.agent_sha256:
        return
    try:
        content = bucket.get(specification.agent_key)
    except OSError as error:
        raise Failure("AgentUnavailable", f"the agent cannot be fetched: {error}") from error
    if _digest(content) != specification.agent_sha256:
        raise Failure(
            "AgentChecksumMismatch",
            f"the agent has sha256 {_digest(content)}, the specification names"
            f" {specification.agent_sha256}",
        )
    partial = archive.with_suffix(".partial")
    partial.write_bytes(content)
    partial.replace(archive)
    print(f"becoming the agent {specification.agent_sha256}", flush=True)
    report.write()
    os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606, nothing is for a shell


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _instance() -> dict[str, str]:
    """Which machine this is; asked until the metadata service answers."""
    while True:
        try:
            return aws.instance()
        except TRANSIENT as error:  # noqa: PERF203, it is a loop of tries
            print(f"waiting: the instance metadata service does not answer: {error}", flush=True)
            time.sleep(2)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped
