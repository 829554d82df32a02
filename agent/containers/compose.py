"""The release's own command line for what changes it, and Docker's engine for what runs of it.

What `config` prints holds every password: it is parsed and never shown.
"""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path
from typing import Any, Mapping, Sequence, Tuple

from agent.containers import compose_files, engine
from agent.containers.engine import Container, EngineError
from agent.failures import Failure
from agent.machine.commands import MISSING, TIMED_OUT, Completed, run

UP_SECONDS = 900
AGAIN_SECONDS = 600.0
"""After which the merged configuration is read again, although no file has changed that the agent knows of."""
AWAITED = "x-graphistry-cluster-awaited"
"""In a service of the merged configuration: another one starts when this one has ended well."""
FILES = ("*", "*/*.yml", "*/*.yaml", "data/config/*")
"""Where a release has what Compose reads: compose files and their includes, variables, and its own version."""

YAML = ("name:", "services:")
"""How Compose's own YAML begins."""
PRODUCT = "nexus"
"""The service that no Graphistry is without."""
USER = {"HOME": "/root", "USER": "root"}

Stamp = Tuple[Tuple[str, int, int, int], ...]
_known: dict[Path, tuple[Stamp, float, dict[str, Any]]] = {}
"""By the release's folder: its files, when they were read, and what Compose made of them."""


def is_well(container: Container, service: Mapping[str, Any]) -> bool:
    """Running and healthy, or steady where it has no health check, or a job that has done its work."""
    if container.state == "running":
        return container.health == "healthy" or (not container.health and container.is_steady)
    return has_ended(container) and container.exit_code == 0 and is_job(service)


def has_ended(container: Container) -> bool:
    """No longer running, and nobody starts it again."""
    return container.state in ("exited", "dead")


def is_job(service: Mapping[str, Any]) -> bool:
    """Whether a service of the merged configuration does its work once: what is stopped ends with status 0 too.

    A health check that it has from its image says nothing of it, nor does one where others wait for its end.
    """
    policy = (service.get("deploy") or {}).get("restart_policy") or {}
    restart = str(service.get("restart") or policy.get("condition") or "no")
    if not restart.startswith(("no", "on-failure")):
        return False
    check = service.get("healthcheck") or {}
    is_checked = bool(check) and not check.get("disable") and check.get("test") != ["NONE"]
    return not is_checked or bool(service.get(AWAITED))


def replicas(service: Mapping[str, Any]) -> int:
    """How many containers a service of the merged configuration is to have."""
    wanted = (service.get("deploy") or {}).get("replicas")
    return int(service.get("scale", 1) if wanted is None else wanted)


def running_services(merged: Mapping[str, Any]) -> dict[str, Any]:
    """Those that run: one of 0 replicas is none. Whoever another one waits for to end is marked so."""
    found = {name: dict(each or {}) for name, each in merged.items() if replicas(each or {})}
    for service in merged.values():
        needed = (service or {}).get("depends_on") or {}
        for name in found.keys() & set(needed):
            condition = needed[name].get("condition") if isinstance(needed, dict) else None
            if condition == "service_completed_successfully":
                found[name][AWAITED] = True
    return found


class Compose:
    """`./graphistry` in the release's folder.

    Nothing is made or started to look at it, unless it *may_make* something: see `call_directly`.
    """

    def __init__(self, folder: Path, *, may_make: bool = False) -> None:
        self._folder = folder
        self._may_make = may_make

    def services(self) -> dict[str, Any]:
        """The services of the merged configuration that run, by name; Compose is asked when a file of the release
        changed."""
        return running_services(self._merged()["services"])

    def _merged(self) -> dict[str, Any]:
        stamp, now = _stamp(self._folder), time.monotonic()
        known = _known.get(self._folder)
        if known and known[0] == stamp and now - known[1] < AGAIN_SECONDS:
            return known[2]
        merged = self._read()
        _known[self._folder] = (stamp, now, merged)
        return merged

    def _read(self) -> dict[str, Any]:
        done, found = self._asked()
        if found is None and done.status:
            done, found = (
                self._asked()
            )  # what was killed once is no command line that passes nothing on
        passes_none = found is None and done.status not in (TIMED_OUT, MISSING)
        is_direct = compose_files.remembered(self._folder) is not None
        shown = self.call_directly() if passes_none and not is_direct else []
        if shown:
            directly = self._run(["config", "--format", "json"], 60)
            found = _document(directly.output)
            if found is None or not _has_their_images(found, shown):
                compose_files.forget(self._folder)
                done, found = directly, None
        if found is None:
            raise Failure(
                "ComposeConfigUnreadable",
                f"./graphistry config ended with status {done.status} and no configuration",
                done.errors.strip().splitlines()[-20:],
            )
        return found

    def _asked(self) -> tuple[Completed, dict[str, Any] | None]:
        """What the command line answers, and the configuration in it."""
        done = self._run(["config", "--format", "json"], 60)
        return done, _document(done.output) or self._from_yaml(done.output)

    def _from_yaml(self, text: str) -> dict[str, Any] | None:
        """What a command line prints as YAML, whatever it is asked for: Compose itself reads its own output."""
        lines = text.splitlines()
        first = next((n for n, line in enumerate(lines) if line.startswith(YAML)), None)
        if first is None:
            return None
        words = ["docker", "compose", "--project-directory", str(self._folder), "-f", "-"]
        plain = "\n".join(lines[first:]) + "\n"
        done = run([*words, "config", "--format", "json"], text=plain, folder=self._folder)
        return _document(done.output)

    def call_directly(self) -> list[Container]:
        """From now on, call Compose with the files of which the release's containers are made, and ours; the containers
        that said so, none where nobody can tell.

        A release that has no container, and shows no configuration, tells its files in no other way than by making
        some: its command line does, where that is allowed, and starts none. They are removed again with their networks
        and volumes, also where a command line that passes no option on has started them; empty folders that Docker
        has made to mount them stay. Nothing is made beside another folder's Graphistry: Compose makes the containers of
        a project anew, whosever they are, and the project is as unknown as the files.
        """
        found = self._own()
        if not found and self._may_make and not _is_taken():
            before = {kind: _made(kind) for kind in ("network", "volume")}
            self._run(["up", "--no-start", "--pull=never"], UP_SECONDS)
            found = self._own()
            _remove(found, before)
        origin = compose_files.learn(self._folder, found)
        if origin is None:
            return []
        compose_files.remember(self._folder, origin)
        _known.pop(self._folder, None)
        return found

    def _own(self) -> list[Container]:
        """The containers of the release's files, whatever their project is called."""
        try:
            found = engine.all_projects()
        except EngineError:
            return []
        return [each for each in found if compose_files.is_of(self._folder, each.labels)]

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
        """What runs and what has ended. Raises Failure DockerUnavailable."""
        try:
            found = engine.containers(self.project())
        except EngineError as error:
            raise Failure("DockerUnavailable", str(error)) from error
        # A command line may name the project when it starts services, and not when it shows their configuration.
        return found or self._own()

    def project(self) -> str:
        """What its containers, networks and volumes are labelled with."""
        try:
            return str(self._merged().get("name") or self._folder.name)
        except Failure:
            return self._folder.name  # it says nothing before it has made something

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

    def start_command(self) -> tuple[list[str], dict[str, str]]:
        """What a boot runs to start the services, and the variables that it needs."""
        words, variables = self._command()
        if words == ["./graphistry"]:
            words = [str(self._folder / "graphistry")]
        return [*words, "up", "-d"], variables

    def _command(self) -> tuple[list[str], dict[str, str]]:
        # Systemd gives its services neither; a command line may ask for both.
        variables = {name: os.environ.get(name, value) for name, value in USER.items()}
        origin = compose_files.remembered(self._folder)
        if origin is None:
            return ["./graphistry"], variables
        return (
            compose_files.command(self._folder, origin),
            {**variables, **compose_files.variables(self._folder)},
        )

    def _run(self, arguments: Sequence[str], seconds: float, text: str | None = None) -> Completed:
        words, variables = self._command()
        return run(
            [*words, *arguments],
            seconds=seconds,
            text=text,
            folder=self._folder,
            variables=variables,
        )


def _has_their_images(merged: dict[str, Any], containers: Sequence[Container]) -> bool:
    """Whether what is read without the release's command line would run what that has made."""
    services = merged["services"]
    shown = [(services.get(each.service, {}).get("image"), each.image) for each in containers]
    return all(image in (None, own) for image, own in shown)


def _is_taken() -> bool:
    """Whether this machine has a Graphistry, running or not; so it is said where nobody can tell."""
    try:
        return any(each.service == PRODUCT for each in engine.all_projects())
    except EngineError:
        return True


def _remove(containers: Sequence[Container], before: Mapping[str, set[str]]) -> None:
    """Remove containers with the networks and volumes of their project that were not there *before*."""
    project = next((each.labels.get(engine.PROJECT) for each in containers), None)
    if project is None:
        return
    made = {kind: _made(kind, f"={project}") - known for kind, known in before.items()}
    _remove_kind("container", ["--force", "--volumes"], [each.identifier for each in containers])
    for kind, names in made.items():
        _remove_kind(kind, [], sorted(names))


def _remove_kind(kind: str, options: list[str], names: list[str]) -> None:
    done = run(["docker", kind, "rm", *options, *names], seconds=300) if names else None
    if done is not None and not done.succeeded:
        print(f"{kind} {' '.join(names)} stays: {' '.join(done.tail()[-1:])}", flush=True)


def _made(kind: str, project: str = "") -> set[str]:
    """What Compose has made of a kind."""
    label = f"--filter=label={engine.PROJECT}{project}"
    return set(run(["docker", kind, "ls", "--quiet", label]).output.split())


def _document(text: str) -> dict[str, Any] | None:
    """The configuration in what a command line prints: it may say something before and behind, with braces too."""
    # Compose doubles dollar signs, so that its output may be read as a compose file again.
    text, decoder = text.replace("$$", "$"), json.JSONDecoder()
    begin = text.find("{")
    while begin >= 0:
        try:
            found, _ = decoder.raw_decode(text, begin)
        except ValueError:
            found = None
        if isinstance(found, dict) and isinstance(found.get("services"), dict):
            return found
        begin = text.find("{", begin + 1)
    return None


def _stamp(folder: Path) -> Stamp:
    """What tells whether a file of the release has changed."""
    found = []
    for pattern in FILES:
        for path in folder.glob(pattern):
            try:
                seen = path.stat()
            except OSError:
                continue  # gone meanwhile
            if stat.S_ISREG(seen.st_mode):
                found.append((str(path), seen.st_mtime_ns, seen.st_size, seen.st_ino))
    return tuple(sorted(found))
