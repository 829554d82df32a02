"""The site `hosts`: whatever the agent needs was brought to this machine's disk by `deliver`."""

from __future__ import annotations

import json
from http.client import HTTPResponse
from pathlib import Path

from agent.failures import Failure
from agent.graphistry import secret_variables
from agent.phases import tunnel
from agent.sites import guests, host_secret
from agent.sites.delivered import AGENT, WANTED
from agent.specification import SecretEnv, Specification

MACHINE_ID = Path("/etc/machine-id")


class HostsSite:
    """A host that existed before the cluster."""

    clock = "nobody"

    def __init__(self) -> None:
        self._last: tuple[object, ...] | None = None

    def instance(self) -> dict[str, str]:
        """The host; its address is the one that the specification gives it."""
        try:
            address = str(json.loads(WANTED.read_bytes())["site"]["address"])
        except (OSError, ValueError, LookupError, TypeError):
            address = ""
        return {"id": machine_id(), "type": "host", "zone": "", "address": address}

    def read_specification(self) -> bytes | None:
        """What was delivered; told again when the guests of a leader change, for whom it opens folder and ports, and
        when keys of the tunnel do."""
        content = WANTED.read_bytes()
        found = (content, guests.addresses(), tunnel.news())
        if found == self._last:
            return None
        self._last = found
        return content

    def store_report(self, content: bytes) -> None:
        """The report on the disk is the one that is asked for."""

    def fetch_agent(self, specification: Specification) -> bytes:
        """Delivered before the specification that names it."""
        return AGENT.read_bytes()

    def read_secret(self, specification: Specification) -> str | None:
        """The leader's own, or what was brought from there."""
        if not specification.is_leader:
            host_secret.forget_leaders_part()
        return host_secret.read()

    def fill_secret(self, specification: Specification, text: str) -> None:
        """Only where there is none."""
        host_secret.create(text)

    def share_secret(self, specification: Specification, text: str) -> str | None:
        """The operator's computer brings it to followers."""
        return text

    def read_secret_env(self, secret_env: SecretEnv) -> str | None:
        """What was brought before the specification that names it."""
        return secret_variables.kept()

    def clock_seconds(self) -> float | None:
        """The operator's preflight compares the hosts' clocks."""
        return None

    def asks(self) -> None:
        """Nobody brings another host."""

    def request_replacement(self, instance: str) -> str:
        """Nobody to ask."""
        raise NotImplementedError

    def open_release(self, source: str, span: str) -> HTTPResponse:
        """There is no store of the site's own."""
        raise Failure("ReleaseUnavailable", f"{source} cannot be read by a host")


def machine_id() -> str:
    """What systemd calls this machine."""
    try:
        return MACHINE_ID.read_text().strip()
    except OSError:
        return ""
