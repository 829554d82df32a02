"""One service of the release: `python3 -m standin SERVICE`, or the program of an image that has one more."""

import importlib
import os
import signal
import sys
import time

from . import BANNER, traps

MODULES = {
    "dask-scheduler": "dask",
    "dask-cuda-worker": "dask",
    "forge-etl-python": "forge",
    "nginx": "proxy",
}
"""Services whose module has another name than they."""
USERS = {"nexus": 1000, "forge-etl-python": 1001}
"""Services that are no root, each with a user of its own: one deletes what the other has written."""
ENTRYPOINT = "docker-entrypoint.sh"
"""Of the images with PostgreSQL and Redis."""
CADDY = ("caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile")
"""As in the official image."""


def main(service: str, *command: str) -> None:
    """Be the service, unless a trap is set."""
    print(f"{BANNER}: {service}", flush=True)
    faults = traps()
    if service in faults.get("exits", ()):
        print("fatal: this service ends at once (trap `exits`)", flush=True)
        sys.exit(1)
    time.sleep(float(faults.get("slowStartSeconds", {}).get(service, 0)))
    if service in faults.get("neverStarts", ()):
        print("starting ...", flush=True)
        signal.pause()
    if command:
        os.execvp(ENTRYPOINT, [ENTRYPOINT, *command])  # noqa: S606
    if service == "caddy":
        os.execvp(CADDY[0], CADDY)  # noqa: S606
    if service in USERS:
        os.setgroups([])
        os.setgid(USERS[service])
        os.setuid(USERS[service])
    name = MODULES.get(service, service.replace("-", "_"))
    importlib.import_module(f".services.{name}", __package__).main(service)


if __name__ == "__main__":
    main(*sys.argv[1:])
