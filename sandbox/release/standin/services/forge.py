"""forge-etl-python: takes uploads, parses them, and keeps the dataset in the shared folder."""

import json
import os
import queue
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import database, gpu
from ..redis_client import redis
from ..web import RefusedError, Reply, Request, Route, get, serve

DATA = Path("/opt/graphistry/data")
NODE = socket.gethostname()
_ID = "([0-9a-f]{32})"
_jobs: "queue.SimpleQueue[Callable[[], None]]" = queue.SimpleQueue()


def main(service: str) -> None:
    """Wait for PostgreSQL, start the workers, answer."""
    database.wait()
    count = int(os.environ["FORGE_NUM_WORKERS"])
    for worker in gpu.workers(count):
        threading.Thread(target=_work, daemon=True).start()
        print(f"worker {worker['worker']} on GPU {worker['gpu']}", flush=True)
    routes: list[Route] = [
        ("GET", "/cudfhealth", _gpu_health),
        ("GET", "/dasksqlhealth", _dask_health),
        (
            "GET",
            "/workerhealth",
            lambda _: Reply(200, {"status": 200, "workers": gpu.workers(count)}),
        ),
        ("POST", "/api/v2/upload/datasets/?", _create),
        ("POST", f"/api/v2/upload/datasets/{_ID}/(edges|nodes)/json/?", _upload),
        ("GET", f"/api/v2/upload/datasets/{_ID}/?", _show),
    ]
    serve(service, 8080, routes)


def _work() -> None:
    while True:
        _jobs.get()()


def _gpu_health(_: Request) -> Reply:
    gpu.require()
    return Reply(200, "ok")


def _dask_health(_: Request) -> Reply:
    if get("dask-scheduler", 8787, "/health").status != 200:
        raise RefusedError(500, "dask-scheduler is not healthy")
    return Reply(200, {"the_sum": 3})


def _create(request: Request) -> Reply:
    owner, document = _owner(request), request.document()
    identifier = uuid.uuid4().hex
    database.execute(
        "INSERT INTO nexus_dataset (dataset_id, name, owner, node) VALUES (%s, %s, %s, %s)",
        [identifier, str(document.get("name", "")), owner, NODE],
    )
    return Reply(200, {"success": True, "message": "created", "data": {"dataset_id": identifier}})


def _upload(request: Request) -> Reply:
    """Keep the file as it came, and the dataset that a worker makes of it."""
    _owner(request)
    identifier, part = request.arguments
    _row(identifier)
    redis(
        "SET", f"forge:upload:{identifier}", json.dumps({"node": NODE, "part": part}), "EX", 86400
    )
    redis("INCR", "forge:uploads")
    done: queue.SimpleQueue[Exception | int] = queue.SimpleQueue()

    def parse() -> None:
        try:
            done.put(_parsed(identifier, part, request.document(), request.body))
        except Exception as error:
            done.put(error)

    _jobs.put(parse)
    outcome = done.get()
    if isinstance(outcome, Exception):
        raise outcome
    # the part is one of two words of the route
    query = f"UPDATE nexus_dataset SET num_{part} = %s WHERE dataset_id = %s"  # noqa: S608
    database.execute(query, [outcome, identifier])
    data = {"dataset_id": identifier, f"num_{part}": outcome}
    return Reply(200, {"success": True, "data": data})


def _parsed(identifier: str, part: str, table: Any, body: bytes) -> int:
    if not isinstance(table, list) or not all(isinstance(row, dict) for row in table):
        raise RefusedError(400, "a JSON list of rows is expected, each an object")
    _write(DATA / "uploads" / f"{identifier}.{part}.json", body)
    path = DATA / "datasets" / f"{identifier}.json"
    dataset = json.loads(path.read_bytes()) if path.exists() else {}
    _write(path, json.dumps({**dataset, part: table}).encode())
    return len(table)


def _write(path: Path, content: bytes) -> None:
    """Write a file that other nodes see whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    draft = path.with_name(f".{path.name}.{NODE}")
    draft.write_bytes(content)
    draft.replace(path)


def _show(request: Request) -> Reply:
    _owner(request)
    row = _row(request.arguments[0])
    path = DATA / "datasets" / f"{row['dataset_id']}.json"
    wanted = row["num_edges"] + row["num_nodes"]
    end = time.monotonic() + int(os.environ["FORGE_MAX_FILE_WAIT_MS"]) / 1000
    while wanted and not path.exists():
        if time.monotonic() > end:
            raise RefusedError(404, f"the dataset's file {path.name} is not in the shared folder")
        time.sleep(0.2)
    dataset = json.loads(path.read_bytes()) if wanted else {}
    counts = {f"num_{part}": len(dataset.get(part, [])) for part in ("edges", "nodes")}
    data = {**row, "created": row["created"].isoformat(), **counts, "read_on": NODE}
    return Reply(200, {"success": True, "data": data})


def _row(identifier: str) -> dict[str, Any]:
    found = database.rows("SELECT * FROM nexus_dataset WHERE dataset_id = %s", [identifier])
    if not found:
        raise RefusedError(404, f"no dataset {identifier}")
    return found[0]


def _owner(request: Request) -> str:
    """Who asks: nexus knows."""
    kept = {key: value for key, value in request.headers.items() if key.lower() == "authorization"}
    answer = get("nexus", 8000, "/api/v2/auth/token/verify", kept)
    document = json.loads(answer.content)
    if answer.status != 200:
        raise RefusedError(answer.status, document.get("message", "nexus refuses"))
    return str(document["username"])
