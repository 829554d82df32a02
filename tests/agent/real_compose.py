"""`docker compose` of a fake machine: Compose itself says what its files mean, and what would run of it is written down
for the engine's stand-in. Needs Compose's own program and no daemon."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(os.environ["FAKE_MACHINE"])
BINARY = (ROOT / "compose-binary").read_text()
WITH_VALUE = (
    "-f",
    "--file",
    "-p",
    "--project-name",
    "--env-file",
    "--project-directory",
    "--profile",
)
STATES, INSPECTED = ROOT / "states.json", ROOT / "inspected.json"
MADE = ROOT / "made.json"
"""The networks and volumes of the project."""


def split(words: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Compose's own options, and the command with its words."""
    options = []
    while words and words[0].startswith("-"):
        option, _, value = words[0].partition("=")
        words = words[1:]
        if option in WITH_VALUE and not value:
            value, words = words[0], words[1:]
        options.append((option, value))
    return options, words


def load(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


def compose(options: list[tuple[str, str]], *words: str) -> "subprocess.CompletedProcess[str]":
    given = [word for option in options for word in option if word]
    return subprocess.run([BINARY, *given, *words], capture_output=True, text=True, check=False)


def values(options: list[tuple[str, str]], *names: str) -> list[str]:
    return [value for option, value in options if option in names]


def labels(options: list[tuple[str, str]], name: str) -> dict[str, str]:
    """What Compose writes down of where a container comes from (pkg/api/labels.go)."""
    files = values(options, "-f", "--file")
    if not files:
        files = os.environ.get("COMPOSE_FILE", "").split(":")
    if files == [""]:
        usual = ("docker-compose.yml", "docker-compose.override.yml")
        files = [each for each in usual if Path(each).exists()]
    directory = values(options, "--project-directory") or [str(Path(files[0]).resolve().parent)]
    found = {
        "com.docker.compose.project": name,
        "com.docker.compose.project.config_files": ",".join(
            str(Path(each).absolute()) for each in files
        ),
        "com.docker.compose.project.working_dir": str(Path(directory[0]).absolute()),
    }
    variables = values(options, "--env-file")
    if variables:
        found["com.docker.compose.project.environment_file"] = ",".join(
            str(Path(each).absolute()) for each in variables
        )
    return found


def inspected(service: dict[str, Any], origin: dict[str, str]) -> dict[str, Any]:
    """A container as the engine shows it, of what Compose would make of a service."""
    mounts = [
        {
            "Type": each["type"],
            "Source": each["source"]
            if each["type"] == "bind"
            else f"{ROOT}/volumes/{each.get('source', 'anonymous')}/_data",
            "Destination": each["target"],
        }
        for each in service.get("volumes") or []
        if each["type"] != "tmpfs"
    ]
    ports: dict[str, Any] = {}
    for each in service.get("ports") or []:
        bound = {
            "HostIp": each.get("host_ip", "0.0.0.0"),  # noqa: S104
            "HostPort": str(each.get("published") or 0),
        }
        ports.setdefault(f"{each['target']}/tcp", []).append(bound)
    variables = (service.get("environment") or {}).items()
    return {
        "Config": {
            "Labels": origin,
            "Env": [f"{key}={value or ''}" for key, value in variables],
            "Cmd": service.get("command"),
            "Image": service["image"],
        },
        "Mounts": mounts,
        "NetworkSettings": {"Ports": ports},
        "HostConfig": {"NetworkMode": service.get("network_mode") or "grph_net"},
    }


def up(options: list[tuple[str, str]], words: list[str]) -> int:
    done = compose(options, "config", "--format", "json")
    sys.stderr.write(done.stderr)
    if done.returncode:
        return done.returncode
    document = json.loads(done.stdout.replace("$$", "$"))
    services = document["services"]
    chosen = [word for word in words if not word.startswith("-")] or list(services)
    shown, states, kept = load(INSPECTED), load(STATES), load(ROOT / "unhealthy.json")
    for name in chosen:
        count = (services[name].get("deploy") or {}).get("replicas", services[name].get("scale", 1))
        for number in range(count):
            identifier = name if not number else f"{name}.{number + 1}"
            is_job = services[name].get("restart") == "no"
            state = ["exited", "", 0] if is_job else ["running", "healthy", 0]
            state = ["created", "", 0] if "--no-start" in words else state
            states[identifier] = kept.get(identifier, state)
            origin = labels(options, document["name"])
            shown[identifier] = inspected(
                services[name], {**origin, "com.docker.compose.service": name}
            )
    STATES.write_text(json.dumps(states))
    INSPECTED.write_text(json.dumps(shown))
    made = load(MADE)
    for kind in ("network", "volume"):
        names = [each["name"] for each in (document.get(f"{kind}s") or {}).values()]
        made[kind] = {**made.get(kind, {}), **dict.fromkeys(names, document["name"])}
    MADE.write_text(json.dumps(made))
    return 0


def remove(kind: str, names: list[str]) -> None:
    """`docker KIND rm`."""
    for file in (STATES, INSPECTED) if kind == "container" else (MADE,):
        found = load(file)
        for name in names:
            del (found if kind == "container" else found[kind])[name]
        file.write_text(json.dumps(found))


def plain(kind: str, command: str, *words: str) -> int:
    """What is asked of Docker itself."""
    if command == "rm":
        remove(kind, [each for each in words if not each.startswith("-")])
        return 0
    project = words[-1].partition("project=")[2]
    names = [name for name, own in load(MADE).get(kind, {}).items() if project in ("", own)]
    print(*names, sep="\n")
    return 0


def main(words: list[str]) -> int:
    with (ROOT / "docker.log").open("a") as log:
        print(*words, file=log)
    if words[0] != "compose":
        return plain(*words)
    options, words = split(words[1:])
    command, rest = words[0], words[1:]
    states = load(STATES)
    if command == "config":
        done = compose(options, command, *rest)
        sys.stdout.write(done.stdout)
        sys.stderr.write(done.stderr)
        return done.returncode
    if command in ("up", "create"):
        return up(options, [each for each in rest if each != "-d"])
    if command == "down":
        STATES.unlink(missing_ok=True)
        INSPECTED.unlink(missing_ok=True)
    if command == "stop":
        chosen = [name for name in rest or states if name in states]
        STATES.write_text(json.dumps({**states, **{name: ["exited", "", 137] for name in chosen}}))
    if command == "exec" and rest[2:4] == ["bash", "-c"]:
        with (ROOT / "shell.log").open("a") as log:
            log.write(sys.stdin.read())
        answer = {"made": True, "value": "x", "found": True, "others": []}
        print(f">>> graphistry-cluster-answer:{json.dumps(answer)}")
    return 0


sys.exit(main(sys.argv[1:]))
