"""The agent's life: converge to the specification, then see to it that the node stays so."""

from __future__ import annotations

import hashlib
import signal
import threading
import time
from types import FrameType

from agent import limits
from agent.containers import engine
from agent.converge import converge, crash
from agent.failures import Failure
from agent.gpu import gpu_care
from agent.gpu.gpu_care import Care
from agent.machine.files import write_private
from agent.node import HOME, Node
from agent.own_archive import OwnArchive
from agent.repair import Repairs
from agent.report import TRANSIENT, Report
from agent.sites.site import Site
from agent.specification import read

LOOK_SECONDS = 1.0
"""Until the first look that events of containers ask for; each further one of a row waits twice as long, WATCH at most:
a container that ends again and again must not keep the agent busy."""
NO_EVENTS_SECONDS = 5.0
"""Until a Docker that ended is asked for its events again."""
FETCHED_IN_VAIN = (
    "ReleaseChecksumMismatch",
    "ReleaseArchiveInvalid",
    "ReleaseArchiveUnsafe",
    "ImagesLoadFailed",
    "DiskFull",
)
"""Failures after a whole release was fetched."""


class Stopped(BaseException):
    """systemd wants the agent to end."""


class Source:
    """The site's specification of this node."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._last = -limits.POLL
        self.content: bytes | None = None

    def poll(self) -> bool:
        """Whether there is another one than at the last call that said so; asks every POLL seconds."""
        pause = limits.POLL if self.content is not None else min(1.0, limits.POLL)
        if time.monotonic() - self._last < pause:
            return False
        self._last = time.monotonic()
        try:
            found = self._site.read_specification()
        except TRANSIENT as error:
            print(f"the specification cannot be read: {error}", flush=True)
            return False
        if found is None:
            return False
        self.content = found
        return True


def run(site: Site) -> None:
    """Run until systemd ends it."""
    signal.signal(signal.SIGTERM, _stop)
    archive = OwnArchive()
    HOME.mkdir(parents=True, exist_ok=True)
    HOME.chmod(0o700)
    report = Report(site.instance(), site.store_report, HOME / "report.json")
    report.start_heartbeat()
    try:
        _live(site, Source(site), archive, report)
    except Stopped:
        report.state("stopped", report.document["failure"])


class Pace:
    """When to look at a ready node: every WATCH seconds, and sooner after events, but never at their rate."""

    def __init__(self) -> None:
        self._due = self.next = 0.0
        self._gap = LOOK_SECONDS

    def begin(self) -> None:
        """Count WATCH seconds from now."""
        self._due = self.next = time.monotonic() + limits.WATCH

    def looked(self, began: float) -> None:
        """A look is over that *began* then: one that no event asked for ends a row of those."""
        self._gap = LOOK_SECONDS if began >= self._due else min(self._gap * 2, limits.WATCH)
        self.begin()

    def hurry(self) -> None:
        """Something has happened."""
        self.next = min(self.next, self._due - limits.WATCH + self._gap)


def _follow_events(news: threading.Event) -> None:
    """Set *news* whenever something happens to a container."""
    while True:
        try:
            for _ in engine.events():
                news.set()
        except engine.EngineError:
            pass  # no Docker yet, or it ends: looks find out
        news.set()
        time.sleep(NO_EVENTS_SECONDS)


def _live(site: Site, source: Source, archive: OwnArchive, report: Report) -> None:
    news = threading.Event()
    # Begun with the first watch: who is told of events keeps Docker from ending, for 5 s at each restart of a converge.
    follower = threading.Thread(target=_follow_events, args=(news,), daemon=True)
    node: Node | None = None
    repairs: Repairs | None = None
    next_converge, pause = 0.0, limits.RETRY_FIRST
    pace = Pace()
    is_new = False
    while True:
        if source.poll() or is_new:
            is_new = False
            next_converge, pause, repairs = 0.0, limits.RETRY_FIRST, None
        now = time.monotonic()
        if source.content is not None and repairs is None and now >= next_converge:
            node = _node(site, archive, report, source.content)

            def changed() -> bool:
                nonlocal is_new
                is_new = is_new or source.poll()
                return is_new

            if node and converge(node, changed):
                gpu_care.well(node)
                repairs = Repairs(node)
                pace.begin()
                if follower.ident is None:
                    follower.start()
            elif not is_new:
                if node and node.failure:
                    _care(node, node.failure)
                next_converge = time.monotonic() + pause
                pause = min(pause * 2, last_pause(report))
        elif repairs is not None and now >= pace.next:
            try:
                repairs.look()
            except Exception as error:
                report.degraded(error if isinstance(error, Failure) else crash(error))
            pace.looked(now)
        if news.wait(min(1.0, limits.POLL, limits.WATCH)):
            news.clear()
            pace.hurry()


def _care(node: Node, failure: Failure) -> None:
    """A GPU that fails before the node is ready again, as after a reboot that has not helped."""
    cared = Care(node).act(failure)
    if cared is not failure:
        node.report.failed(node.report.document["phase"], cared)


def _node(site: Site, archive: OwnArchive, report: Report, content: bytes) -> Node | None:
    """The node that the document describes; None, and a failed report, where it cannot be used."""
    try:
        specification = read(content)
        archive.replace(site, specification, report.write)
        instance = site.instance()
    except Exception as error:
        failure = error if isinstance(error, Failure) else crash(error)
        print(f"failed: {failure.code}: {failure.message}", flush=True)
        report.set(specification=hashlib.sha256(content).hexdigest())
        report.failed("bootstrap", failure)
        return None
    write_private(HOME / "specification.json", specification.text)
    report.set(instance=instance)
    return Node(specification, instance, site, report)


def last_pause(report: Report) -> float:
    """How far the pauses between tries grow, after the failure that is reported."""
    code = (report.document["failure"] or {}).get("code")
    return limits.RETRY_RELEASE if code in FETCHED_IN_VAIN else limits.RETRY_LAST


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped
