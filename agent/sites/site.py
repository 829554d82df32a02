"""What differs by where a node's machine comes from; aws_site.py and hosts_site.py are the two sites."""

from __future__ import annotations

from http.client import HTTPResponse
from typing import Protocol

from agent.specification import SecretEnv, Specification
from agent.wishes import Asks


class Site(Protocol):
    """Where a node runs. OSError is what a method raises for something that may go well later."""

    clock: str
    """Whose clock this machine's is compared with."""

    def instance(self) -> dict[str, str]:
        """Which machine this is: id, type, zone, address."""

    def read_specification(self) -> bytes | None:
        """What this node should be; None where nothing has changed since the last call."""

    def store_report(self, content: bytes) -> None:
        """Show the report to those who cannot see this machine's disk."""

    def fetch_agent(self, specification: Specification) -> bytes:
        """The archive of the agent that the specification names."""

    def read_secret(self, specification: Specification) -> str | None:
        """The cluster's secret; None while it has no text."""

    def fill_secret(self, specification: Specification, text: str) -> None:
        """Give the secret a text unless it has one, also where two do so at once."""

    def share_secret(self, specification: Specification, text: str) -> str | None:
        """Let followers have *text* unless they have one already; what they have then."""

    def read_secret_env(self, secret_env: SecretEnv) -> str | None:
        """The stack file's secret variables; None while they are not there."""

    def clock_seconds(self) -> float | None:
        """By how much this machine's clock is ahead; None where nothing is known."""

    def asks(self) -> Asks | None:
        """The wishes of all followers for other machines; None if nobody brings another one."""

    def request_replacement(self, instance: str) -> str:
        """Ask for another machine in this one's place; what comes of it in words. Only `replacement.ask` calls it."""

    def open_release(self, source: str, span: str) -> HTTPResponse:
        """The bytes of a release in a range like `bytes=0-99`; raises Failure where asking again cannot help."""
