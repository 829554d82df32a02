"""How long the program takes before it registers anything: imports, and the settings of a cluster without followers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping

from bench.workbench import cluster_config
from model.settings.stack_keys import PROJECT
from operate.stack.deployment import ROOT

BARE_PYTHON = "bare Python"
SDK = "the SDK: pulumi, pulumi_aws"
PROGRAM = "the program's imports and settings"

SETTINGS = """
import json, sys
from model.settings.read import parse
parse(json.loads(sys.argv[1]))
"""

SNIPPETS: Mapping[str, str] = {
    BARE_PYTHON: "pass",
    SDK: "import pulumi, pulumi_aws",
    "settings alone": SETTINGS,
    PROGRAM: f"import components.cluster, components.sites, preflight{SETTINGS}",
    "the imports of `./cluster status`": "import operate.__main__, operate.nodes.present, operate.commands.screen",
}


def startup_seconds(runs: int) -> dict[str, list[float]]:
    """Wall time of a new Python with each of :data:`SNIPPETS`, in turns."""
    found: dict[str, list[float]] = {name: [] for name in SNIPPETS}
    prefix = f"{PROJECT}:"
    settings = {
        key.removeprefix(prefix): value
        for key, value in cluster_config(0).items()
        if key.startswith(prefix) and key != f"{prefix}deleteData"
    }
    for _ in range(runs):
        for name, snippet in SNIPPETS.items():
            before = time.perf_counter()
            subprocess.run(
                [sys.executable, "-c", snippet, json.dumps(settings)], cwd=ROOT, check=True
            )
            found[name].append(time.perf_counter() - before)
    return found
