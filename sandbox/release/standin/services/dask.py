"""dask-scheduler and dask-cuda-worker: their health, and the workers that there would be."""

import os

from .. import gpu
from ..web import RefusedError, Reply, Request, get, serve


def main(service: str) -> None:
    """Answer."""
    is_worker = service == "dask-cuda-worker"
    count = int(os.environ.get("DASK_NUM_WORKERS", "0"))

    def health(_: Request) -> Reply:
        if not is_worker:
            return Reply(200, "ok")
        gpu.require()
        if get("dask-scheduler", 8787, "/health").status != 200:
            raise RefusedError(500, "dask-scheduler is not healthy")
        return Reply(200, {"status": 200, "workers": gpu.workers(count)})

    serve(service, 8787, [("GET", "/health", health)])
