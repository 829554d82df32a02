"""PostgreSQL and Redis as containers of their own: the program makes them, `remove` takes them away."""

from __future__ import annotations

from agent.commands import run

NAMES = ("graphistry-cluster-postgres", "graphistry-cluster-redis")
"""As components/hosts/data_services.py names them."""
STOP_SECONDS = 60
"""PostgreSQL writes down what it has in memory."""


def remove() -> list[str]:
    """Stop and remove the containers where they are; the names of their volumes, which stay."""
    volumes: list[str] = []
    for name in NAMES:
        template = "{{range .Mounts}}{{if .Name}}{{.Name}} {{end}}{{end}}"
        found = run(["docker", "container", "inspect", "--format", template, name])
        if not found.succeeded:
            continue
        volumes += found.output.split()
        run(["docker", "stop", "--time", str(STOP_SECONDS), name], seconds=STOP_SECONDS + 60)
        run(["docker", "rm", name])
    return volumes
