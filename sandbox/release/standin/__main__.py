"""One service of the release: `python3 -m standin SERVICE`, started by systemd."""

import importlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import ADDRESSES, BANNER, SANDBOX, STATE, traps
from .units import recorded

MODULES = {
    "dask-scheduler": "dask",
    "dask-cuda-worker": "dask",
    "forge-etl-python": "forge",
    "nginx": "proxy",
    "caddy": "proxy",
}
"""Services whose module has another name than they."""


def environment(service: str, config: Mapping[str, Any]) -> dict[str, str]:
    """The environment of a service and of what is executed in it."""
    release = Path(config["standin"]["release"])
    set_ones = {name: value for name, value in config["environment"].items() if value is not None}
    variables = {
        **set_ones,
        "PATH": f"{release}/standin/bin:/usr/lib/postgresql/15/bin:/usr/bin:/bin",
        "PYTHONPATH": str(release),
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "STANDIN_SERVICE": service,
        "STANDIN_ADDRESS": ADDRESSES[service],
        "STANDIN_GPU": "1" if config["standin"]["gpu"] else "",
        "STANDIN_GPU_LOST": str(SANDBOX / f"nvml-lost-{service}"),
        "STANDIN_STARTED": str(STATE / f"{service}.started"),
    }
    if service == "postgres":
        variables["PGHOST"] = ADDRESSES[service]
        variables["PGPASSWORD"] = set_ones.get("POSTGRES_PASSWORD", "")
    return variables


def main(service: str) -> None:
    """Be the service, unless a trap is set."""
    print(f"{BANNER}: {service}", flush=True)
    config = recorded(service)
    (STATE / f"{service}.started").touch()
    faults = traps()
    if service in faults.get("exits", ()):
        print("fatal: this service ends at once (trap `exits`)", flush=True)
        sys.exit(1)
    time.sleep(float(faults.get("slowStartSeconds", {}).get(service, 0)))
    if service in faults.get("neverStarts", ()):
        print("starting ...", flush=True)
        signal.pause()
    os.environ.clear()
    os.environ.update(environment(service, config))
    name = MODULES.get(service, service.replace("-", "_"))
    importlib.import_module(f".services.{name}", __package__).main(service, config)


if __name__ == "__main__":
    main(sys.argv[1])
