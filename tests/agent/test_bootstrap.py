"""The user data's program, run as a machine runs it: against a metadata service and an S3 of this computer."""

import io
import json
import threading
import urllib.error
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jsonschema
import pytest

from agent import bootstrap
from components.agent_archive import build_archive
from components.aws.user_data import user_data

from .conftest import BUCKET, MACHINE, PREFIX, REGION, SECRET, Machine

REPORT_SCHEMA = Path(bootstrap.__file__).with_name("node_report.schema.json")


class ErrorServer(ThreadingHTTPServer):
    """Answers with the statuses that a test wants, one after the other."""

    statuses: list[int]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class ErrorHandler(BaseHTTPRequestHandler):
    server: ErrorServer

    def do_GET(self) -> None:
        self.send_response(self.server.statuses.pop(0))
        self.send_header("Content-Length", "7")
        self.end_headers()
        self.wfile.write(b"content")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[ErrorServer]:
    found = ErrorServer(("127.0.0.1", 0), ErrorHandler)
    threading.Thread(
        target=found.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    ).start()
    yield found
    found.shutdown()
    found.server_close()


def archive(source: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as zipped:
        zipped.writestr("__main__.py", source)
    return content.getvalue()


def test_the_agent_that_the_specification_names_is_run(machine: Machine) -> None:
    machine.store_agent(archive("import sys; print('agent runs', sys.argv[1:])"))
    done = machine.boot()
    assert "agent runs ['install', 'us-east-1', 'documents', 'nodes/small/']" in done.stdout
    assert done.returncode == 0


def test_a_boot_that_failed_is_tried_again_until_it_succeeds(
    machine: Machine, tmp_path: Path
) -> None:
    # The agent's archive cannot be installed before the second pause.
    ready = tmp_path / "ready"
    machine.store_agent(
        archive(f"import pathlib, sys; sys.exit(not pathlib.Path('{ready}').exists())")
    )
    done = machine.boot(
        between=f"test -e {tmp_path}/first && touch {ready}; touch {tmp_path}/first"
    )
    assert done.stdout.count("AgentInstallFailed") == 2
    assert done.returncode == 0


def test_an_agent_with_another_checksum_is_refused_and_reported(machine: Machine) -> None:
    machine.store_agent(archive("print('agent runs')"), sha256="0" * 64)
    done = machine.boot()
    assert done.returncode == 1
    assert "agent runs" not in done.stdout
    assert machine.report()["state"] == "failed"
    assert machine.report()["failure"]["code"] == "AgentChecksumMismatch"


def test_a_missing_specification_is_waited_for_and_then_reported(machine: Machine) -> None:
    done = machine.boot(patience="1.5")
    assert done.returncode == 1
    assert "waiting: the specification cannot be read" in done.stdout
    assert machine.report()["failure"]["code"] == "SpecificationUnavailable"


def test_a_missing_agent_is_reported(machine: Machine) -> None:
    machine.store_agent(archive(""))
    machine.s3.delete_object(Bucket=BUCKET, Key="agent/a.pyz")
    assert machine.boot().returncode == 1
    assert machine.report()["failure"]["code"] == "AgentUnavailable"


def test_a_surprise_is_reported_as_well(machine: Machine) -> None:
    machine.s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}specification.json", Body=b"[]")
    assert machine.boot().returncode == 1
    assert machine.report()["failure"]["code"] == "BootstrapCrashed"


def test_no_credential_is_printed(machine: Machine) -> None:
    machine.store_agent(archive("print('agent runs')"), sha256="0" * 64)
    done = machine.boot()
    assert SECRET not in done.stdout + done.stderr
    assert SECRET not in json.dumps(machine.report())


def test_an_agent_that_cannot_be_installed_is_reported_with_its_last_words(
    machine: Machine,
) -> None:
    machine.store_agent(archive("import sys; sys.exit('no systemd here')"))
    assert machine.boot().returncode == 1
    failure = machine.report()["failure"]
    assert failure["code"] == "AgentInstallFailed"
    assert failure["log"] == ["no systemd here"]


def test_a_report_of_a_failed_boot_names_the_machine_and_fits_the_schema(machine: Machine) -> None:
    machine.store_agent(archive(""), sha256="0" * 64)
    machine.boot()
    assert machine.report()["instance"] == {"id": MACHINE["instance-id"]}
    jsonschema.validate(machine.report(), json.loads(REPORT_SCHEMA.read_text()))


def test_a_server_that_fails_for_a_moment_is_asked_again(
    server: ErrorServer,
) -> None:
    server.statuses = [503, 500, 200]
    assert bootstrap.request("GET", server.url, {}, None, pause=0) == b"content"
    server.statuses = [404, 200]
    with pytest.raises(urllib.error.HTTPError):
        bootstrap.request("GET", server.url, {}, None, pause=0)


def test_the_archive_has_the_same_bytes_every_time(tmp_path: Path) -> None:
    first = build_archive(tmp_path).read_bytes()
    (tmp_path / "agent.pyz").unlink()
    assert build_archive(tmp_path).read_bytes() == first


def test_user_data_fits_into_what_ec2_takes() -> None:
    script = user_data(region=REGION, bucket="b" * 63, prefix="nodes/" + "n" * 30 + "/")
    assert len(script.encode()) <= 16 * 1024


def test_user_data_names_nothing_but_region_bucket_and_prefix() -> None:
    one = user_data(region=REGION, bucket="b-first", prefix="nodes/first/")
    two = user_data(region=REGION, bucket="b-other", prefix="nodes/other/")
    assert one.replace("first", "other") == two
