"""A stand-in for the vendor's command line, as far as the agent relies on it; its services are a file."""

import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT, RELEASE = Path(os.environ["FAKE_MACHINE"]), Path(__file__).parent


def override() -> Any:
    """The services of the override file."""
    import yaml  # the other commands do without its 60 ms

    class Loader(yaml.SafeLoader):
        """Knows Compose's tag."""

    def replace(loader: Any, node: Any) -> Any:
        return {"!override": loader.construct_sequence(node)}

    Loader.add_constructor("!override", replace)
    text = (RELEASE / "docker-compose.override.yml").read_text()
    return yaml.load(text, Loader)["services"]  # noqa: S506, it is a safe one


def variables() -> dict[str, str]:
    found = {}
    for name in ("custom.env", "cluster.env"):
        file = RELEASE / "data/config" / name
        for line in file.read_text().splitlines() if file.exists() else []:
            if "=" in line and not line.startswith("#"):
                key, _, value = line.partition("=")
                found[key] = value
    return found


def config() -> dict[str, Any]:
    given = variables()
    leader = given.get("NODE_TYPE", "leader") == "leader"
    host, password = (
        given.get("POSTGRES_HOST", "postgres"),
        given.get("POSTGRES_PASSWORD", "password"),
    )
    both = {"REDIS_URL": "redis://redis:6379/0"}
    database = {
        "DATABASE_URL": f"postgres://graphistry:{password}@{host}:5432/graphistry",
        "POSTGRES_PASSWORD": password,
    }
    gpu = {"CUDA_VISIBLE_DEVICES": given.get("CUDA_VISIBLE_DEVICES", "0")}
    volumes = [
        {
            "source": given.get("LOCAL_DATASET_CACHE_DIR", "/opt/graphistry/data").rstrip("/"),
            "target": "/opt/graphistry/data",
        }
    ]
    services: dict[str, Any] = {
        "caddy": {"ports": [{"target": 80, "published": "80"}]},
        "nexus": {"environment": {**both, **database}, "volumes": volumes},
        "forge-etl-python": {
            "environment": {
                **both,
                **database,
                **gpu,
                "FORGE_NUM_WORKERS": given.get("FORGE_NUM_WORKERS", "4"),
            },
            "volumes": volumes,
        },
        "streamgl-gpu": {
            "environment": {
                **both,
                **gpu,
                "STREAMGL_NUM_WORKERS": given.get("STREAMGL_NUM_WORKERS", "4"),
            }
        },
        "streamgl-viz": {"environment": dict(both)},
        "redis": {},
    }
    if leader:
        services["postgres"] = {
            "environment": database,
            "ports": [{"target": 5432, "published": "5432"}],
            "volumes": [
                {
                    # As Compose shows it where the variable ends with a slash.
                    "source": volumes[0]["source"] + "//postgresql_data",
                    "target": "/var/lib/postgresql/data",
                }
            ],
        }
    binds = ROOT / "binds.json"
    for name, targets in json.loads(binds.read_text()).items() if binds.exists() else ():
        own = [
            {"type": "bind", "source": str(RELEASE / "data" / part), "target": target}
            for part, target in targets.items()
        ]
        service = services.setdefault(name, {})
        service["volumes"] = [*service.get("volumes", []), *own]
    file = RELEASE / "docker-compose.override.yml"
    if file.exists() and not (ROOT / "override-ignored").exists():
        for name, change in override().items():
            service = services.setdefault(name, {})
            service.setdefault("environment", {}).update(change.get("environment", {}))
            if "ports" in change:
                parts = [each.split(":") for each in change["ports"]["!override"]]
                service["ports"] = [
                    {"host_ip": a, "published": b, "target": int(c)} for a, b, c in parts
                ]
            if "command" in change:
                service["command"] = change["command"]
            service["cap_drop"] = [*service.get("cap_drop", []), *change.get("cap_drop", [])]
            for each in change.get("volumes", []):
                own = service.setdefault("volumes", [])
                own[:] = [other for other in own if other["target"] != each["target"]]
                own.append(each)
    return services


states = ROOT / "states.json"
command = sys.argv[1]
with (ROOT / "graphistry.log").open("a") as log:
    print(*sys.argv[1:], file=log)
if command == "config":
    print(json.dumps({"services": config()}).replace("$", "$$"))
elif command == "up" and "--no-start" not in sys.argv:
    known = json.loads(states.read_text()) if states.exists() else {}
    names = [name for name in sys.argv[2:] if not name.startswith("-")] or list(config())
    kept = (
        json.loads((ROOT / "unhealthy.json").read_text())
        if (ROOT / "unhealthy.json").exists()
        else {}
    )
    known.update({name: kept.get(name, ["running", "healthy", 0]) for name in names})
    states.write_text(json.dumps(known))
elif command == "logs":
    print(f"last words of {sys.argv[-1]}")
elif command == "exec":
    words = sys.argv[4:]
    if words[:2] == ["bash", "-c"] and words[2].endswith("python manage.py shell"):
        (ROOT / "shell.log").open("a").write(sys.stdin.read())
        found = "false" if (ROOT / "no-administrator").exists() else "true"
        file = ROOT / "superusers.json"
        others = file.read_text() if file.exists() else "[]"
        made = "false" if (ROOT / "administrator-exists").exists() else "true"
        answer = f'{{"made": {made}, "value": "x", "found": {found}, "others": {others}}}'
        print(f">>> graphistry-cluster-answer:{answer}")
    elif words[0] == "sh" and (ROOT / "not-held").exists():
        print("missing")
elif command == "down":
    states.unlink(missing_ok=True)
elif command == "stop":
    known = json.loads(states.read_text())
    names = [name for name in sys.argv[2:] or known if name in known]
    states.write_text(json.dumps({**known, **{key: ["exited", "", 137] for key in names}}))
