"""A stand-in for the Docker Engine's API, whose containers are those of the stand-in for the vendor's command line."""

import contextlib
import json
import os
import re
import shutil
import signal
import socketserver
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

PROJECT = "com.docker.compose.project"
POSTGRES = "/var/lib/postgresql/data"
GPUS = "GPU 0: Tesla T4\n"


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    root: Path
    hung: "subprocess.Popen[bytes] | None" = None
    """A command in a container that was started while the file ``exec-hangs`` was there."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        parts = self._parts()
        states = self._states()
        if parts[0] == "exec" and (self.server.root / "exec-gone").exists():
            self._answer({"message": "No such exec instance"}, 404)
        elif parts[0] == "exec":
            hung = self.server.hung
            is_running = hung is not None and hung.poll() is None
            self._answer(
                {
                    "ID": parts[1],
                    "Running": is_running,
                    "ExitCode": None if is_running else 0,
                    "Pid": hung.pid if hung else 0,
                }
            )
        elif parts == ["volumes"]:
            self._answer({"Volumes": self._volumes()})
        elif parts == ["events"]:
            self._tell_events()
        elif parts == ["containers", "json"]:
            self._answer([{"Id": name} for name in states if self._is_asked_for(name)])
        elif parts[1] in states:
            document = _inspected(parts[1], *states[parts[1]])
            if parts[1] == "postgres":
                source = f"{self._dataset_folder()}postgresql_data"
                own_files = {"Type": "bind", "Source": source, "Destination": POSTGRES}
                document["Mounts"] = [own_files]
            own = self._inspected(parts[1])
            document.update(
                {
                    name: {**document.get(name, {}), **each} if isinstance(each, dict) else each
                    for name, each in own.items()
                }
            )
            check = self.server.root / "health-check.json"
            if check.exists():
                document["Config"]["Healthcheck"] = json.loads(check.read_text())
            self._answer(document)
        else:
            self._answer({"message": f"No such container: {parts[1]}"}, 404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        parts = self._parts()
        if parts[-1] == "start":
            self._start(parts[1])
        else:
            self._answer({"Id": f"{body['Cmd'][0]}~{parts[1]}"}, 201)

    def _output(self, command: str, container: str) -> str:
        if command == "sh":  # whether the shared folder is seen
            file = self.server.root / "not-held"  # by whom not; by nobody where it is empty
            names = file.read_text().split() if file.exists() else ["nobody"]
            return "missing\n" if not names or container in names else ""
        file = self.server.root / "container-gpus"
        return file.read_text() if file.exists() else GPUS

    def _parts(self) -> list[str]:
        """The path without the version of the API that a client may name in it."""
        parts = urlsplit(self.path).path.strip("/").split("/")
        return parts[1:] if re.fullmatch(r"v1\.\d+", parts[0]) else parts

    def _start(self, command: str) -> None:
        """Run a command: the answer begins at once, and ends when nobody holds the output any more."""
        is_upgrade = self.headers.get("Upgrade") == "tcp"
        self.close_connection = True
        self.send_response(101 if is_upgrade else 200)
        if is_upgrade:
            self.send_header("Connection", "Upgrade")
            self.send_header("Upgrade", "tcp")
        self.send_header("Content-Type", "application/vnd.docker.raw-stream")
        self.end_headers()
        if (self.server.root / "exec-hangs").exists():
            hung = subprocess.Popen(
                ["sh", "-c", "sleep 60 & wait"], stdout=subprocess.PIPE, start_new_session=True
            )
            self.server.hung = hung
            hung.communicate()
            (self.server.root / "exec-ended").write_text(str(hung.returncode))
            return
        if is_upgrade:
            time.sleep(0.1)  # a process has to start first; Docker's own client counts on it
        text = self._output(*command.split("~")).encode()
        self.wfile.write(struct.pack("!BxxxI", 1, len(text)) + text)

    def _tell_events(self) -> None:
        """Those of the file ``events``, one a line; then the engine ends."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in (self.server.root / "events").read_bytes().splitlines(keepends=True):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.write(b"0\r\n\r\n")

    def _inspected(self, name: str) -> dict[str, Any]:
        """What else the engine shows of a container, by the test's file."""
        file = self.server.root / "inspected.json"
        found: dict[str, Any] = json.loads(file.read_text()).get(name, {}) if file.exists() else {}
        return found

    def _dataset_folder(self) -> str:
        """As the release has it, with a slash behind."""
        file = self.server.root / "release" / "data" / "config" / "cluster.env"
        lines = file.read_text().splitlines() if file.exists() else []
        values = (each.partition("=")[2] for each in lines if each.startswith("LOCAL_DATASET"))
        return next(values, f"{self.server.root}/shared/")

    def _is_asked_for(self, name: str) -> bool:
        """Whether a container has the project's label that is filtered by; one without is of any project."""
        query = parse_qs(urlsplit(self.path).query)
        labels = dict(each.partition("=")[::2] for each in json.loads(query["filters"][0])["label"])
        own = self._inspected(name).get("Config", {}).get("Labels", {})
        return own.get(PROJECT, "") in ("", labels.get(PROJECT) or own.get(PROJECT))

    def _volumes(self) -> list[dict[str, str]] | None:
        """Those of the file ``volumes.json``, project to name to path; null where there are none, as Docker says it."""
        file = self.server.root / "volumes.json"
        labels = json.loads(parse_qs(urlsplit(self.path).query)["filters"][0])["label"]
        found = json.loads(file.read_text()) if file.exists() else {}
        own = found.get(labels[0].partition("=")[2], {})
        return [{"Name": name, "Mountpoint": path} for name, path in own.items()] or None

    def _states(self) -> dict[str, Any]:
        file = self.server.root / "states.json"
        found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        return found

    def _answer(self, document: object, status: int = 200) -> None:
        self._send(json.dumps(document).encode(), "application/json", status)

    def _send(self, body: bytes, kind: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def address_string(self) -> str:
        return ""


def _inspected(name: str, state: str, health: str, code: int) -> dict[str, Any]:
    return {
        "Id": name,
        "RestartCount": 0,
        # `a` is the first container of service a, `a.2` the second.
        "Config": {"Labels": {"com.docker.compose.service": name.partition(".")[0]}},
        "Mounts": [],
        "State": {
            "Status": state,
            "ExitCode": code,
            "Pid": os.getpid() if state == "running" else 0,
            "StartedAt": "2026-01-01T00:00:00Z",
            **({"Health": {"Status": health}} if health else {}),
        },
        "NetworkSettings": {"Networks": {"grph_net": {"IPAddress": "172.18.0.2"}}},
    }


@contextmanager
def engine(root: Path) -> Iterator[str]:
    """The engine's socket while it answers; its path is short, as those of sockets have to be."""
    folder = tempfile.mkdtemp(prefix="engine-")
    path = f"{folder}/docker.sock"
    server = _Server(path, _Handler)
    server.root = root
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield path
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        if server.hung is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.hung.pid, signal.SIGKILL)
        shutil.rmtree(folder)
