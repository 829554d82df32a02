"""What a user sees on the first day when something is wrong: one message, no traceback, no resource."""

import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.deployment.checkout import Checkout

MISTAKES = """
config:
  aws:region: us-east-1
  graphistry-cluster:gpuProfiles:
    t4:
      instanceTypes: [g4dn.2xlrge]
      gpus: "one"
    wide:
      instanceTypes: [g5g.xlarge]
      rootVolumeGb: 300
  graphistry-cluster:leader:
    profile: t44
    dataVolume: {iops: 20}
  graphistry-cluster:followers:
    Big: {profile: t4}
    small: {profile: t4, market: cheap}
  graphistry-cluster:network:
    cidrBlock: 10.40.0.0/8
  graphistry-cluster:access:
    allowedCidrs: [0.0.0.0/0]
  graphistry-cluster:release:
    version: "2.50.1"
    cuda: "12"
"""
"""Ten mistakes."""


def without_account(tmp_path: Path) -> dict[str, str]:
    """An environment in which nothing leads to an AWS account."""
    return {
        "HOME": str(tmp_path),
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
        "PULUMI_BACKEND_URL": f"file://{tmp_path}",
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }


def test_ten_mistakes_give_ten_messages(checkout: Checkout) -> None:
    (checkout.root / "stacks" / "Pulumi.sandbox.yaml").write_text(MISTAKES)
    shown = checkout.operate("up")
    assert shown.returncode != 0
    assert "10 problems" in shown.stdout
    assert "did you mean" in shown.stdout
    assert "Traceback" not in shown.stdout
    assert not (checkout.root / ".sandbox").exists()


def test_plain_pulumi_tells_the_same_ten(checkout: Checkout) -> None:
    stack_file = checkout.root / "stacks" / "Pulumi.sandbox.yaml"
    sound = stack_file.read_text()
    checkout.environment()
    assert checkout.pulumi("stack", "init", "sandbox").returncode == 0
    environment = checkout.environment()
    stack_file.write_text(MISTAKES)
    shown = subprocess.run(
        ["pulumi", "preview", "--stack", "sandbox", "--non-interactive"],
        cwd=checkout.root,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    stack_file.write_text(sound)
    assert shown.returncode != 0
    assert "10 problems" in shown.stdout
    assert "Traceback" not in shown.stdout
    assert checkout.account()["vpcs"] == 0


def test_the_sandbox_goes_on_while_another_stack_lives_in_it(deployed: Checkout) -> None:
    deployed.publish("dev")
    deployed.succeed("up", "dev", "--target", "sandbox")
    assert "goes on for the stack sandbox" in deployed.succeed("down", "dev", "--target", "sandbox")
    assert deployed.account()["instances"] == 3


def test_a_shell_of_the_sandbox_does_not_deploy_to_aws(deployed: Checkout) -> None:
    refused = deployed.operate("up", "dev", environment=deployed.environment())
    assert refused.returncode == 1
    assert "this shell points to the sandbox" in refused.stdout


def test_hints_of_a_rehearsal_lead_back_to_the_sandbox(deployed: Checkout) -> None:
    deployed.publish("dev")
    shown = deployed.succeed("up", "dev", "--target", "sandbox")
    assert "`./cluster down dev --target sandbox`" in shown
    deployed.succeed("down", "dev", "--target", "sandbox")


def test_show_without_a_sandbox_says_so(checkout: Checkout) -> None:
    shown = checkout.operate("status")
    assert shown.returncode == 1
    assert "the sandbox is not running" in shown.stdout


def test_a_type_that_no_zone_offers_is_told_before_anything_is_made(checkout: Checkout) -> None:
    checkout.change(
        gpuProfiles={
            "t4": {"instanceTypes": ["g4dn.2xlarge"]},
            "h200": {"instanceTypes": ["p5e.48xlarge"]},
        },
        followers={"fast": {"profile": "h200"}},
    )
    shown = checkout.operate("up")
    assert shown.returncode != 0
    assert "no zone of this region offers p5e.48xlarge" in shown.stdout
    assert "Traceback" not in shown.stdout
    assert checkout.account()["vpcs"] == 0


@pytest.fixture
def new_account(checkout: Checkout) -> Checkout:
    """A checkout whose AWS grants no GPU, as it does a new account."""
    (checkout.root / ".sandbox").mkdir()
    (checkout.root / ".sandbox" / "quotas.json").write_text('{"L-DB2E81BA": 0}')
    return checkout


@pytest.mark.parametrize("command", ["up", "preview"])
def test_a_new_account_is_told_what_to_ask_for_before_anything_is_made(
    new_account: Checkout, command: str
) -> None:
    shown = new_account.operate(command)
    assert shown.returncode == 1
    assert "64 vCPUs more" in shown.stdout
    assert "`./cluster quota-request sandbox`" in shown.stdout
    assert "--quota-code L-DB2E81BA --desired-value 64" in shown.stdout
    assert "Previewing" not in shown.stdout
    assert new_account.account()["vpcs"] == 0


def test_plain_pulumi_tells_a_new_account_the_same(new_account: Checkout) -> None:
    assert new_account.pulumi("stack", "init", "sandbox").returncode == 0
    shown = new_account.pulumi("preview", "--stack", "sandbox")
    assert shown.returncode != 0
    assert "--quota-code L-DB2E81BA --desired-value 64" in shown.stdout
    assert "preflight: image: a stand-in" in shown.stdout
    assert "could not run" not in shown.stdout
    assert "Traceback" not in shown.stdout


def test_a_check_that_is_switched_off_stops_nothing(new_account: Checkout) -> None:
    new_account.change(preflight={"skip": ["quota"]})
    assert re.search(r"quota +switched off", new_account.succeed("preview"))


def test_a_quota_is_asked_for_after_a_yes(new_account: Checkout) -> None:
    refused = new_account.operate("quota-request")
    assert refused.returncode == 1
    assert "Nobody is there to say yes; `--yes` does" in refused.stdout
    assert "is pending" in new_account.succeed("quota-request", "--yes")
    again = new_account.succeed("quota-request")
    assert re.search(r"64 +64 on 20\d\d-", again)
    assert "already asked for 64 vCPUs of Running On-Demand G and VT instances, on 20" in again


def test_a_launch_that_aws_refuses_is_red_where_machines_are_recorded_too(
    checkout: Checkout,
) -> None:
    shortages = checkout.root / ".sandbox" / "shortages.json"
    shortages.parent.mkdir()
    shortages.write_text('{"g6.12xlarge": "InsufficientInstanceCapacity"}')
    refused = checkout.operate("up")
    assert refused.returncode != 0
    assert "large is not ready: AWS gives it no machine" in refused.stdout
    assert re.search(r"code +InsufficientInstanceCapacity", refused.stdout)
    assert "add instance types to the profile" in refused.stdout
    assert re.search(r"tried +g6\.12xlarge in us-east-1a, us-east-1b", refused.stdout)
    assert "no machine: InsufficientInstanceCapacity" in checkout.succeed("status")
    shortages.unlink()
    checkout.succeed("up")
    assert "no machine" not in checkout.succeed("status")


def test_a_stack_without_a_file_is_told_which_there_are(checkout: Checkout) -> None:
    shown = checkout.operate("up", "prd")
    assert shown.returncode == 1
    assert "stacks here: dev, gpu-team, onprem, onprem-sandbox, prod, sandbox" in shown.stdout


def test_without_credentials_a_real_stack_is_refused_before_anything(
    checkout: Checkout, tmp_path: Path
) -> None:
    environment = without_account(tmp_path)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        assert name not in os.environ, f"unset {name} to run the tests"
    shown = checkout.operate("up", "dev", environment=environment)
    assert shown.returncode == 1
    assert "no AWS credentials were found" in shown.stdout
    assert "aws sso login" in shown.stdout
    assert "Traceback" not in shown.stdout


def test_plain_pulumi_without_credentials_is_told_the_same(checkout: Checkout) -> None:
    assert checkout.pulumi("stack", "init", "sandbox").returncode == 0
    unknown = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    shown = checkout.pulumi("preview", "--stack", "sandbox", environment=unknown)
    assert shown.returncode != 0
    assert "no AWS credentials were found" in shown.stdout
    assert "Traceback" not in shown.stdout


class ExpiredAws(BaseHTTPRequestHandler):
    """A stand-in for an AWS that does not take these credentials any more."""

    def do_POST(self) -> None:
        body = (
            b"<ErrorResponse><Error><Type>Sender</Type><Code>ExpiredToken</Code>"
            b"<Message>The security token included in the request is expired</Message>"
            b"</Error></ErrorResponse>"
        )
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def expired_aws() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), ExpiredAws)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_expired_credentials_are_told_and_never_shown(
    checkout: Checkout, tmp_path: Path, expired_aws: str
) -> None:
    canary = "canary-secret-key"
    shown = checkout.operate(
        "up",
        "dev",
        environment={
            **without_account(tmp_path),
            "AWS_ACCESS_KEY_ID": "AKIAEXPIRED",
            "AWS_SECRET_ACCESS_KEY": canary,
            "AWS_SESSION_TOKEN": canary,
            "AWS_ENDPOINT_URL": expired_aws,
        },
    )
    assert shown.returncode == 1
    assert "the AWS credentials have expired" in shown.stdout
    assert canary not in shown.stdout
    assert "Traceback" not in shown.stdout


@pytest.mark.parametrize("command", ["up", "preview", "down"])
def test_a_cluster_does_not_move_to_another_region(deployed: Checkout, command: str) -> None:
    before = deployed.account()
    stack_file = deployed.root / "stacks" / "Pulumi.sandbox.yaml"
    content = stack_file.read_text()
    stack_file.write_text(content.replace("us-east-1", "us-west-2"))
    refused = deployed.operate(command)
    stack_file.write_text(content)
    assert refused.returncode == 1
    assert "this cluster is in 'us-east-1', and a cluster does not move" in refused.stdout
    assert deployed.account() == before


def test_a_port_that_is_taken_is_named(checkout: Checkout) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        shown = checkout.operate("up", environment={"SANDBOX_PORT": str(port)})
    assert shown.returncode == 1
    assert str(port) in shown.stdout
    assert "Traceback" not in shown.stdout


def test_two_checkouts_run_side_by_side(checkout: Checkout, tmp_path: Path) -> None:
    from sandbox.lifecycle import stop

    other = Checkout.create(tmp_path / "other")
    try:
        checkout.succeed("up")
        other.change(followers={})
        other.succeed("up")
        assert checkout.account()["instances"] == 3
        assert other.account()["instances"] == 1
        assert checkout.plan("--refresh") == {}
    finally:
        stop(other.root / ".sandbox")


def test_any_stack_can_be_rehearsed_in_the_sandbox(checkout: Checkout) -> None:
    before = (checkout.root / "stacks" / "Pulumi.prod.yaml").read_text()
    checkout.publish("prod")
    shown = checkout.succeed("up", "prod", "--target", "sandbox")
    assert "p5.48xlarge" in shown
    assert checkout.account()["instances"] == 5
    assert (checkout.root / "stacks" / "Pulumi.prod.yaml").read_text() == before


def test_a_python_that_is_too_old_is_told_what_to_install(checkout: Checkout) -> None:
    (checkout.root / ".venv").unlink()
    old = checkout.root / "old-python"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.8.1\nexit 1\n')
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "up", f"PYTHON3={old}"],
        cwd=checkout.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr
    assert "make up PYTHON3=" in done.stderr
