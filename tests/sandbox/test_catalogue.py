"""The GPU catalogue against the instance types that the sandbox's EC2 describes, which are real ones."""

from dataclasses import replace

import pytest
from moto import mock_aws

from model.gpu_catalogue import read_catalogue
from tools.generate_gpu_catalogue import gpu_instance_types


def test_the_catalogue_equals_what_ec2_describes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        described = gpu_instance_types(["us-west-2"])
    written = read_catalogue().values()
    assert {each.name: each for each in described} == {
        each.name: replace(each, price=None) for each in written
    }
