"""redis: a real Redis, run as its own user as in the vendor's image."""

import os
import pwd
import shlex
from collections.abc import Mapping
from typing import Any

from ..web import bound


def main(service: str, config: Mapping[str, Any]) -> None:
    """Be Redis, as the compose file's command says."""
    command = config.get("command") or ["redis-server"]
    if command[0] != "redis-server":
        raise ValueError(f"command {shlex.join(command)}: redis-server ... is expected")
    command += ["--bind", *bound(service, config, 6379), "--port", "6379", "--protected-mode", "no"]
    command += ["--daemonize", "no", "--save", "", "--hz", "1", "--dir", "/var/lib/redis"]
    user = pwd.getpwnam("redis")
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.execvp(command[0], command)  # noqa: S606
