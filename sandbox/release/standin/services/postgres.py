"""postgres: a real PostgreSQL, with its files where the compose file's volume says."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..web import bound

DATA = Path("/var/lib/postgresql/data")
# The last word wins over postgresql.conf. Nothing is flushed: the files of a sandbox outlive its
# machines, never a power cut.
SETTINGS = {
    "fsync": "off",
    "shared_buffers": "16MB",
    "max_connections": "200",
    "autovacuum": "off",
    "jit": "off",
    "bgwriter_lru_maxpages": "0",
    "max_logical_replication_workers": "0",
    "wal_writer_delay": "10s",
    "password_encryption": "scram-sha-256",
    "unix_socket_directories": "",
}


def main(service: str, config: Mapping[str, Any]) -> None:
    """Make the database where there is none, then be PostgreSQL."""
    user = pwd.getpwnam("postgres")
    os.chown(DATA, user.pw_uid, user.pw_gid)
    DATA.chmod(0o700)
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    if not (DATA / "PG_VERSION").exists():
        _initialise()
    addresses = ",".join(bound(service, config, 5432))
    command = ["postgres", "-D", str(DATA), *(config.get("command") or [])[1:]]
    for name, value in {**SETTINGS, "listen_addresses": addresses, "port": "5432"}.items():
        command += ["-c", f"{name}={value}"]
    os.execvp(command[0], command)  # noqa: S606


def _initialise() -> None:
    """A new database cluster. PG_VERSION comes last, so that half of one is begun anew."""
    for leftover in DATA.iterdir():
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    draft = DATA / "draft"
    reading, writing = os.pipe()
    os.write(writing, f"{os.environ['POSTGRES_PASSWORD']}\n".encode())
    os.close(writing)
    user, database = os.environ["POSTGRES_USER"], os.environ["POSTGRES_DB"]
    subprocess.run(
        [
            *("initdb", "-D", str(draft), "-U", user, f"--pwfile=/dev/fd/{reading}"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"),
        ],
        pass_fds=[reading],
        check=True,
    )
    os.close(reading)
    with (draft / "pg_hba.conf").open("a") as rules:
        rules.write("host all all all scram-sha-256\n")
    subprocess.run(
        ["postgres", "--single", "-D", str(draft), "-c", "fsync=off", "postgres"],
        input=f"CREATE DATABASE {database};\n",
        text=True,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    for path in sorted(draft.iterdir(), key=lambda each: each.name == "PG_VERSION"):
        path.rename(DATA / path.name)
    draft.rmdir()
