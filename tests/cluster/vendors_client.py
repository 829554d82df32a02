"""PyGraphistry, the vendor's own client, on a node: `python vendors_client.py`, run by the Python of .build/clients.

It prints a JSON object of what it was told. It has no password but in its environment.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import graphistry  # type: ignore[import-not-found, import-untyped, unused-ignore]  # in .build/clients only
import pandas  # type: ignore[import-not-found, import-untyped, unused-ignore]
import socketio  # type: ignore[import-not-found, import-untyped, unused-ignore]

ADDRESS = "localhost"
EDGES = 7


def main() -> None:
    """Do what is asked for."""
    known: dict[str, Callable[..., dict[str, Any]]] = {
        "upload": upload,
        "expired": expired,
        "refused": refused,
        "session": session,
    }
    print(json.dumps(known[sys.argv[1]](*sys.argv[2:])))


def register(password: str = os.environ["PASSWORD"]) -> None:
    """Sign in."""
    graphistry.register(
        api=3, protocol="http", server=ADDRESS, username=os.environ["USERNAME"], password=password
    )


def upload() -> dict[str, Any]:
    """A graph twice, as files and as tables; what the URLs of their visualizations say, and the first one's binding."""
    register()
    numbers = range(EDGES)
    edges = pandas.DataFrame({"src": numbers, "dst": [(each + 1) % EDGES for each in numbers]})
    nodes = pandas.DataFrame({"node": numbers})
    graph = graphistry.edges(edges, "src", "dst").nodes(nodes, "node").name("of PyGraphistry")
    found: dict[str, Any] = {}
    for way in (True, False):
        url = urlsplit(graph.plot(render=False, as_files=way))
        found["files" if way else "tables"] = {
            "path": url.path,
            **{name: values[0] for name, values in parse_qs(url.query).items()},
        }
    known = graphistry.from_dataset_id(found["files"]["dataset"])
    return {**found, "bound": [known._source, known._destination]}


def expired(token: str) -> dict[str, Any]:
    """What becomes of a good token and of one whose time is over."""
    register()
    good = graphistry.api_token()
    time.sleep(1)  # or the new one would expire in the same second, and be the same
    found = {
        "verifiesGood": graphistry.verify_token(good),
        "verifiesExpired": graphistry.verify_token(token),
        "refreshed": graphistry.refresh() != good,
    }
    graphistry.api_token(token)
    graphistry.refresh()  # which signs in again
    return {**found, "again": graphistry.verify_token()}


def refused() -> dict[str, Any]:
    """What a wrong password brings."""
    try:
        register("wrong")
    except Exception as error:
        return {"error": str(error)}
    return {}


def session(path: str, dataset: str) -> dict[str, Any]:
    """The answer of a dataset's session, by a client of Socket.IO that is nobody's here."""
    answers: list[Any] = []
    client = socketio.Client()
    client.on("falcor-operation-1", answers.append)
    query = f"dataset={dataset}&falcorClient=true"
    client.connect(
        f"http://{ADDRESS}?{query}", socketio_path=path.strip("/"), transports=["websocket"]
    )
    question = {"id": "1", "method": "get", "pathSets": [["workbooks", "open", "edges"]]}
    client.emit("falcor-operation", question)
    end = time.monotonic() + 20
    while not answers and time.monotonic() < end:
        time.sleep(0.1)
    client.disconnect()
    return {"answers": answers}


if __name__ == "__main__":
    main()
