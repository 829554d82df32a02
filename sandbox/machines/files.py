"""Files by which processes of the sandbox tell each other something."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write(file: Path, content: Any) -> None:
    """Replace a file in one step, for whoever reads it at the same time."""
    draft = file.with_name(f".{file.name}-{os.getpid()}")
    draft.write_text(json.dumps(content, indent=1))
    draft.replace(file)
