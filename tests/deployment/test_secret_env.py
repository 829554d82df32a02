"""Secret variables of a stack file with the real engine: where they are, and what a change of one does."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from secrets import token_hex
from typing import Any

from tests.deployment.checkout import Checkout

KEY = "graphistry-cluster:secretEnv"
CANARY = token_hex(12)
"""Begins each value. No file of the checkout has it, as one that stands in this file."""
NODES = ("leader", "large", "small")


def set_secret(deployed: Checkout, name: str, value: str) -> None:
    """As the refusals and docs tell, with the value on standard input."""
    done = subprocess.run(
        ["pulumi", "config", "set", "--secret", "--path", f"{KEY}.{name}", "--stack", "sandbox"],
        cwd=deployed.root,
        env={**os.environ, **deployed.environment()},
        input=value,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def specifications(deployed: Checkout) -> list[dict[str, Any]]:
    s3, bucket = deployed.client("s3"), bucket_of(deployed)
    bodies = [
        s3.get_object(Bucket=bucket, Key=f"nodes/{node}/specification.json")["Body"].read()
        for node in NODES
    ]
    return [json.loads(each) for each in bodies]


def bucket_of(deployed: Checkout) -> str:
    done = deployed.pulumi("stack", "output", "bucket", "--stack", "sandbox")
    return done.stdout.strip()


def secrets(deployed: Checkout) -> dict[str, str]:
    """ARN by the name that the program gave."""
    listed = deployed.client("secretsmanager").list_secrets()["SecretList"]
    return {each["Name"].rpartition("-")[0]: each["ARN"] for each in listed}


def files_with(root: Path, text: str) -> list[Path]:
    """Everything that the commands have written below a checkout: state and its history, logs, copies of the file."""
    return [
        each
        for each in root.rglob("*")
        if not each.is_symlink() and each.is_file() and text.encode() in each.read_bytes()
    ]


def test_no_value_is_in_plain_and_a_change_is_in_place(deployed: Checkout) -> None:
    own = "graphistry-sandbox-secret-env"
    said: list[str] = []
    told: list[str] = []
    for value in (f"{CANARY}-one", f"{CANARY}-two"):
        set_secret(deployed, "SMTP_PASSWORD", value)
        previewed = deployed.pulumi("preview", "--json", "--stack", "sandbox")
        steps = json.loads(previewed.stdout[previewed.stdout.index("{") :])["steps"]
        replaced = {each["urn"].rpartition("::")[2] for each in steps if "replace" in each["op"]}
        assert replaced == ({own} if told else set())
        said += [previewed.stdout, previewed.stderr, deployed.succeed("preview")]
        said += [deployed.succeed("up"), deployed.succeed("status", "--json")]
        said += [deployed.succeed("outputs", "--json")]
        for words in (("stack", "history", "--json"), ("stack", "export"), ("config", "--json")):
            shown = deployed.pulumi(*words, "--stack", "sandbox")
            assert shown.returncode == 0, shown.stderr
            said.append(shown.stdout)
        arn = secrets(deployed)[own]
        found = deployed.client("secretsmanager").get_secret_value(SecretId=arn)
        assert json.loads(found["SecretString"]) == {"SMTP_PASSWORD": value}
        named = [each["secretEnv"] for each in specifications(deployed)]
        assert named == [{"arn": arn, "version": found["VersionId"]}] * len(NODES)
        told.append(found["VersionId"])
        said.append(json.dumps(specifications(deployed)))
    assert deployed.plan("--refresh") == {}
    assert len(set(told)) == len(told)
    leader = json.loads(deployed.pulumi("stack", "output", "--json", "--stack", "sandbox").stdout)
    said.append(
        json.dumps(
            deployed.client("ec2").describe_instance_attribute(
                InstanceId=leader["leader"]["instanceId"], Attribute="userData"
            )
        )
    )
    # The sandbox's AWS is in memory; the stack file has what Pulumi has encrypted.
    assert not [each for each in said if CANARY in each]
    assert files_with(deployed.root, CANARY) == []
    assert "secure" in json.dumps(deployed.setting("secretEnv"))

    deployed.change(secretEnv=None)
    assert "not protected" not in deployed.succeed("up")
    assert own not in secrets(deployed)
    assert [each["secretEnv"] for each in specifications(deployed)] == [None] * len(NODES)


def test_a_variable_in_plain_is_refused_before_pulumi_sees_it(deployed: Checkout) -> None:
    environment = {**os.environ, **deployed.environment()}
    deployed.change(secretEnv={"SMTP_PASSWORD": CANARY})
    try:
        for command in ("preview", "up"):
            refused = deployed.operate(command)
            assert refused.returncode == 1
            assert "secretEnv.SMTP_PASSWORD" in refused.stdout
            assert (
                f"pulumi config set --stack STACK --secret --path {KEY}.SMTP_PASSWORD"
                in refused.stdout
            )
            assert CANARY not in refused.stdout
        plain = subprocess.run(
            ["pulumi", "preview", "--non-interactive", "--stack", "sandbox"],
            cwd=deployed.root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert plain.returncode != 0
        assert "a value for everybody to read" in plain.stdout + plain.stderr
        assert CANARY not in plain.stdout + plain.stderr
    finally:
        deployed.change(secretEnv=None)
