"""The release's own command line, which is all that the agent uses of the release.

What `config` prints holds every password: it is parsed and never shown.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Sequence

from agent.commands import Completed, run
from agent.failures import Failure

UP_SECONDS = 900


@dataclass(frozen=True)
class Container:
    """One line of `ps`."""

    service: str
    state: str
    health: str
    exit_code: int

    def is_well(self, service: Mapping[str, Any]) -> bool:
        """Running and healthy, or running where it has no health check, or a job that has done its work."""
        if self.state == "running":
            return self.health in ("", "healthy")
        return self.has_ended and self.exit_code == 0 and is_job(service)

    @property
    def has_ended(self) -> bool:
        """No longer running, and nobody starts it again."""
        return self.state in ("exited", "dead")


def is_job(service: Mapping[str, Any]) -> bool:
    """Whether a service of the merged configuration does its work once: what is stopped ends with status 0 too."""
    restart = str(service.get("restart") or "no")
    return not service.get("healthcheck") and restart.startswith(("no", "on-failure"))


class Compose:
    """`./graphistry` in the release's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def services(self) -> dict[str, Any]:
        """The services of the merged configuration, by name."""
        done = self._run(["config", "--format", "json"], 60)
        try:
            # Compose doubles dollar signs, so that its output may be read as a compose file again.
            text = done.output.replace("$$", "$")
            # The vendor's wrapper may say something first.
            found: dict[str, Any] = json.loads(text[text.index("{") :])["services"]
        except (ValueError, LookupError, TypeError) as error:
            raise Failure(
                "ComposeConfigUnreadable",
                f"./graphistry config ended with status {done.status} and no configuration",
                done.errors.strip().splitlines()[-20:],
            ) from error
        return found

    def up(self, services: Sequence[str] = (), *options: str) -> None:
        """Start services, or all; only those whose configuration changed are made anew."""
        done = self._run(["up", "-d", *options, *services], UP_SECONDS)
        if not done.succeeded:
            raise Failure(
                "ServicesNotStarted",
                f"./graphistry up -d ended with status {done.status}",
                done.tail(),
            )

    def restart(self, services: Sequence[str]) -> Completed:
        """Restart services as they are."""
        return self._run(["restart", *services], UP_SECONDS)

    def stop(self, services: Sequence[str]) -> Completed:
        """Stop services; their containers stay."""
        return self._run(["stop", *services], UP_SECONDS)

    def containers(self) -> list[Container]:
        """What runs and what has ended."""
        done = self._run(["ps", "-a", "--format", "json"], 60)
        if not done.succeeded:
            raise Failure("ServicesNotStarted", "./graphistry ps does not answer", done.tail())
        return parse_containers(done.output)

    def logs(self, service: str, lines: int = 20) -> list[str]:
        """The last log lines of a service."""
        done = self._run(["logs", "--no-color", f"--tail={lines}", service], 30)
        return done.output.splitlines()[-lines:]

    def execute(
        self,
        service: str,
        command: Sequence[str],
        *,
        text: str | None = None,
        seconds: float = 60,
    ) -> Completed:
        """Run a command inside a service, *text* on its standard input."""
        return self._run(["exec", "-T", service, *command], seconds, text)

    def down(self) -> Completed:
        """Remove the containers; volumes stay."""
        return self._run(["down"], UP_SECONDS)

    def _run(self, arguments: Sequence[str], seconds: float, text: str | None = None) -> Completed:
        return run(["./graphistry", *arguments], seconds=seconds, text=text, folder=self._folder)


def parse_containers(text: str) -> list[Container]:
    """The containers in `ps --format json`: one array, or an object a line, as Compose's versions differ."""
    stripped = text.strip()
    try:
        if stripped.startswith("["):
            entries = json.loads(stripped)
        else:
            entries = [json.loads(line) for line in stripped.splitlines() if line.startswith("{")]
        return [
            Container(
                each["Service"], each["State"], each.get("Health", ""), int(each.get("ExitCode", 0))
            )
            for each in entries
        ]
    except (ValueError, LookupError, TypeError) as error:
        raise Failure(
            "ServicesNotStarted", f"./graphistry ps is not understood: {error!r}"
        ) from error
