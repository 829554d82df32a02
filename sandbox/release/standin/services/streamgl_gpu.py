"""streamgl-gpu: the layout workers and their health."""

import os

from .. import gpu
from ..web import Reply, Request, serve


def main(service: str) -> None:
    """Answer."""
    count = int(os.environ["STREAMGL_NUM_WORKERS"])
    well = {"ok": True, "clContextHealthy": True, "ready": True}

    def check(_: Request) -> Reply:
        gpu.require()
        workers = [{**worker, **well} for worker in gpu.workers(count)]
        return Reply(200, {"status": 200, "workers": workers})

    pages = ("/check-workers", "/secondary/gpu/health")
    serve(service, 8080, [("GET", page, check) for page in pages])
