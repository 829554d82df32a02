"""The command line of the release, as far as the vendor passes it through to Docker Compose."""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from . import BANNER, SERVICES, units
from . import traps as read_traps
from .health import health
from .project import read_project
from .units import State


def main(release: Path, arguments: list[str]) -> int:
    """Run one command; returns its exit code."""
    asked = _parser().parse_args(arguments)
    try:
        project = read_project(release, read_traps())
        return _run(release, project, asked)
    except (ValueError, yaml.YAMLError, OSError) as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("./graphistry", description=BANNER)
    commands = parser.add_subparsers(dest="command", required=True)
    config = commands.add_parser("config", help="show the merged configuration (holds secrets)")
    config.add_argument("--format", choices=["yaml", "json"], default="yaml")
    up = commands.add_parser("up", help="start services, anew where their configuration changed")
    up.add_argument("-d", "--detach", action="store_true", required=True)
    up.add_argument("--no-deps", action="store_true")
    up.add_argument("--force-recreate", action="store_true")
    up.add_argument("services", nargs="*")
    ps = commands.add_parser("ps", help="show services")
    ps.add_argument("-a", "--all", action="store_true")
    ps.add_argument("--format", choices=["table", "json"], default="table")
    ps.add_argument("services", nargs="*")
    execute = commands.add_parser("exec", help="run a command in a service")
    execute.add_argument("-T", "--no-TTY", action="store_true")
    execute.add_argument("-e", "--env", action="append", default=[], metavar="NAME=VALUE")
    execute.add_argument("service")
    execute.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    logs = commands.add_parser("logs", help="show what services printed")
    logs.add_argument("--no-color", action="store_true")
    logs.add_argument("--no-log-prefix", action="store_true")
    logs.add_argument("-n", "--tail", default="all")
    logs.add_argument("services", nargs="*")
    for name in ("restart", "stop"):
        command = commands.add_parser(name, help=f"{name} services")
        command.add_argument("-t", "--timeout", help="taken and not used")
        command.add_argument("services", nargs="*")
    down = commands.add_parser("down", help="stop and forget all services")
    down.add_argument("-v", "--volumes", action="store_true", help="delete the database too")
    return parser


def _run(release: Path, project: dict[str, Any], asked: argparse.Namespace) -> int:
    if asked.command == "config":
        return _config(project, asked.format)
    units.docker_settings()  # every other command needs Docker
    named = [asked.service] if asked.command == "exec" else getattr(asked, "services", [])
    for service in named:
        if service not in project["services"]:
            raise ValueError(f"no such service: {service}")
    if asked.command == "ps":
        return _ps(project, asked)
    if asked.command == "exec":
        return _exec(release, asked)
    if asked.command == "logs":
        return _logs(asked)
    with units.exclusively():
        if asked.command == "up":
            return _up(release, project, asked)
        made = list(units.states())
        chosen = [name for name in made if name in named or not named]
        if asked.command == "restart":
            units.restart(chosen)
        elif asked.command == "stop":
            units.stop(chosen)
        else:
            units.remove(made, asked.volumes)
    return 0


def _config(project: dict[str, Any], form: str) -> int:
    as_yaml = form == "yaml"
    text = yaml.safe_dump(project, sort_keys=False) if as_yaml else json.dumps(project, indent=2)
    print(text.replace("$", "$$"))  # so that it may be read as a compose file again
    return 0


def _up(release: Path, project: dict[str, Any], asked: argparse.Namespace) -> int:
    services = in_order(project, asked.services, with_needed=not asked.no_deps)
    missing = units.missing_images(project, services)
    if missing:
        raise ValueError(
            f"Error response from daemon: pull access denied for {missing[0].split(':')[0]},"
            " repository does not exist or may require 'docker login': denied: requested access to"
            f" the resource is denied ({missing[0]} was never loaded into Docker)"
        )
    started = units.start(release, project, services, asked.force_recreate)
    for name in services:
        did = "Started" if name in started else "Running"
        print(f" Container graphistry-{name}-1  {did}", file=sys.stderr)
    return 0


def in_order(project: Mapping[str, Any], named: list[str], with_needed: bool) -> list[str]:
    """The named services, or all, after what they depend on."""
    ordered: list[str] = []

    def add(name: str) -> None:
        for needed in project["services"][name].get("depends_on", ()) if with_needed else ():
            add(needed)
        if name not in ordered:
            ordered.append(name)

    for name in named or [name for name in SERVICES if name in project["services"]]:
        add(name)
    return ordered


def _ps(project: dict[str, Any], asked: argparse.Namespace) -> int:
    known = {
        name: state
        for name, state in units.states().items()
        if (asked.all or state.state != "exited") and (name in asked.services or not asked.services)
    }
    traps = read_traps()
    healths = health(known, project, traps)
    for name, state in known.items():
        row = _row(state, healths[name], traps)
        if asked.format == "json":
            print(json.dumps(row))
        else:
            print(f"{row['Name']:32}{row['Service']:20}{row['State']:12}{row['Health']}")
    return 0


def _row(state: State, healthy: str, traps: Mapping[str, Any]) -> dict[str, Any]:
    config = units.recorded(state.service)
    ports = config.get("ports", []) if state.state == "running" else []
    if traps.get("portsNotPublished") and state.service != "caddy":
        ports = []
    return {
        "Name": f"graphistry-{state.service}-1",
        "Service": state.service,
        "Image": config.get("image", ""),
        "Project": "graphistry",
        "State": state.state,
        "Health": healthy,
        "ExitCode": 0 if state.state == "running" else state.exit_code,
        "Publishers": [
            {
                "URL": port.get("host_ip", "0.0.0.0"),  # noqa: S104 - shown, and meant
                "TargetPort": port["target"],
                "PublishedPort": int(port["published"]),
                "Protocol": port["protocol"],
            }
            for port in ports
        ],
    }


def _exec(release: Path, asked: argparse.Namespace) -> int:
    if not asked.words:
        raise ValueError("exec: a command is expected after the service")
    state = units.states().get(asked.service)
    if state is None or state.state != "running" or not state.pid:
        raise ValueError(f'service "{asked.service}" is not running')
    from .__main__ import environment

    variables = environment(asked.service, units.recorded(asked.service))
    variables |= dict(pair.split("=", 1) for pair in asked.env)
    sys.stdout.flush()
    home = release / "standin" / "bin"
    inside = ["sh", "-c", f'cd "{home}" && exec "$@"', "sh", *asked.words]
    if asked.service not in ("postgres", "redis"):
        # The service's own view of files: its volumes, and the names of the other services. What
        # runs as another user than root is closed in a container without CAP_SYS_PTRACE.
        inside = ["nsenter", "--target", str(state.pid), "--mount", *inside]
    os.execvpe(inside[0], inside, variables)  # noqa: S606


def _logs(asked: argparse.Namespace) -> int:
    made = [name for name in units.states() if name in asked.services or not asked.services]
    if not re.fullmatch(r"all|\d+", asked.tail):
        raise ValueError(f"--tail {asked.tail!r}: a number or all is expected")
    for name in made:
        command = [
            "journalctl",
            "--no-pager",
            "--quiet",
            "--output=cat",
            "--unit",
            units.unit(name),
        ]
        done = subprocess.run(
            [*command, "--lines", asked.tail, f"--identifier={name}"],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        prefix = "" if asked.no_log_prefix else f"{name}-1  | "
        for line in done.stdout.splitlines():
            print(f"{prefix}{line}")
    return 0
