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

from .. import arrow, database, gpu, traps
from ..redis_client import redis
from ..web import RefusedError, Reply, Request, Route, get, serve

DATA = Path("/opt/graphistry/data")
NODE = socket.gethostname()
PARTS = ("edges", "nodes")
COUNTS = {
    "edge_count": ("edge_count", "node_count"),
    "num_edges": ("num_edges", "num_nodes"),
    "none": (),
}
"""The trap `datasetCounts`: how a dataset's description counts; the first is hub's, PyGraphistry knows of none."""
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
        ("POST", f"/api/v2/upload/datasets/{_ID}/(edges|nodes)/(json|arrow)/?", _upload),
        ("POST", f"/api/v2/upload/files/{_ID}/?", _upload_file),
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
    missing = [
        name for name in ("metadata", "node_encodings", "edge_encodings") if name not in document
    ]
    if missing:
        raise RefusedError(400, f"a dataset needs {', '.join(missing)}")
    identifier = uuid.uuid4().hex
    counts = {part: _of_files(document.get(f"{part}_files")) for part in ("edge", "node")}
    database.execute(
        "INSERT INTO nexus_dataset (dataset_id, name, owner, node, described, num_edges, num_nodes)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        [
            identifier,
            str(document.get("name", "")),
            owner,
            NODE,
            json.dumps(document),
            *counts.values(),
        ],
    )
    for part, count in counts.items():
        if count:
            _keep(identifier, f"{part}s", count)
    data = {"dataset_id": identifier}
    return Reply(200, {"success": True, "message": "Dataset created", "data": data})


def _of_files(files: Any) -> int:
    """How many rows the first tables of uploaded files have."""
    names = [each[0] if isinstance(each, list) else each for each in files or []]
    found = database.rows("SELECT * FROM nexus_file WHERE file_id = ANY(%s)", [names])
    if len(found) < len(names) or not all(row["num_rows"] is not None for row in found):
        raise RefusedError(400, f"not all of {names} are uploaded files")
    return sum(row["num_rows"] for row in found)


def _upload(request: Request) -> Reply:
    """Keep the table as it came, and the dataset that a worker makes of it."""
    _owner(request)
    identifier, part, kind = request.arguments
    _row(identifier)
    _told(identifier, part)
    rows, columns = _parsed(kind, request)
    _write(DATA / "uploads" / f"{identifier}.{part}.{kind}", request.body)
    _keep(identifier, part, rows)
    # the part is one of two words of the route
    query = f"UPDATE nexus_dataset SET num_{part} = %s WHERE dataset_id = %s"  # noqa: S608
    database.execute(query, [rows, identifier])
    data = {
        "dataset_id": identifier,
        "dtypes": dict.fromkeys(columns, "object"),
        "num_cols": len(columns),
        "num_rows": rows,
        "time_parsing_s": 0,
    }
    return Reply(200, {"data": data, "message": f"Dataset {part} created", "success": True})


def _upload_file(request: Request) -> Reply:
    owner, identifier = _owner(request), request.arguments[0]
    query = "SELECT * FROM nexus_file WHERE file_id = %s AND owner = %s"
    file = next(iter(database.rows(query, [identifier, owner])), None)
    if file is None:
        raise RefusedError(404, f"no file {identifier}")
    _told(identifier, "file")
    try:
        rows, _ = _parsed(file["file_type"], request)
    except RefusedError as error:
        is_kept = request.query.get("erase", "true") != "true"
        errors = {"is_valid": False, "is_uploaded": is_kept, "errors": [str(error)]}
        return Reply(200, {"file_id": identifier, **errors})
    _write(DATA / "files" / f"{identifier}.{file['file_type']}", request.body)
    database.execute("UPDATE nexus_file SET num_rows = %s WHERE file_id = %s", [rows, identifier])
    return Reply(
        200, {"file_id": identifier, "is_valid": True, "is_uploaded": True, "errors": None}
    )


def _told(identifier: str, part: str) -> None:
    """Redis of every upload."""
    told = json.dumps({"node": NODE, "part": part})
    redis("SET", f"forge:upload:{identifier}", told, "EX", 86400)
    redis("INCR", "forge:uploads")


def _parsed(kind: str, request: Request) -> tuple[int, list[str]]:
    """A table's number of rows and its columns, by a worker."""
    done: queue.SimpleQueue[Exception | tuple[int, list[str]]] = queue.SimpleQueue()

    def parse() -> None:
        try:
            done.put(_size(kind, request))
        except Exception as error:
            done.put(error)

    _jobs.put(parse)
    outcome = done.get()
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _size(kind: str, request: Request) -> tuple[int, list[str]]:
    if kind == "arrow":
        try:
            return arrow.size(request.body)
        except ValueError as error:
            raise RefusedError(400, str(error)) from error
    table = request.document()
    if request.query.get("orient") == "records":
        if not isinstance(table, list) or not all(isinstance(row, dict) for row in table):
            raise RefusedError(400, "a JSON list of rows is expected, each an object")
        return len(table), list(table[0]) if table else []
    lengths = {len(each) for each in table.values()} if isinstance(table, dict) else set()
    if len(lengths) != 1:
        raise RefusedError(400, "an object of equally long columns is expected (or orient=records)")
    return lengths.pop(), list(table)


def _keep(identifier: str, part: str, rows: int) -> None:
    path = DATA / "datasets" / f"{identifier}.json"
    dataset = json.loads(path.read_bytes()) if path.exists() else {}
    _write(path, json.dumps({**dataset, part: rows}).encode())


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
    described = row["described"]
    shown = {
        "dataset_id": row["dataset_id"],
        "name": row["name"],
        "description": described.get("description", ""),
        "created_at": row["created"].isoformat(),
        "node": row["node"],
        "read_on": NODE,
        **{name: described.get(name) for name in ("metadata", "node_encodings", "edge_encodings")},
    }
    names = COUNTS[traps().get("datasetCounts", "edge_count")]
    counts = {name: dataset.get(part, 0) for name, part in zip(names, PARTS, strict=False)}
    return Reply(200, {"success": True, "data": {**shown, **counts}})


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
