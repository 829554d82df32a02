"""The GPUs as a service sees them."""

import os
import subprocess

from .web import RefusedError


def require() -> None:
    """Raises RefusedError, with nvidia-smi's words, where this service has no GPU."""
    done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RefusedError(500, (done.stdout + done.stderr).strip())


def workers(count: int) -> list[dict[str, object]]:
    """The workers of a service, dealt out to its GPUs in turn."""
    devices = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")
    return [{"worker": index, "gpu": devices[index % len(devices)]} for index in range(count)]
