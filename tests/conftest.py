"""What every test may use."""

import functools
import gc
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from botocore import loaders
from botocore.client import BaseClient
from moto import mock_aws
from xdist.scheduler import LoadFileScheduling

from model.rehearsal import DONE
from sandbox.machines import availability
from sandbox.machines.availability import Machines
from sandbox.provider.api_values import problems
from tests.harness import Recorder, deploy, run_program, stack_config

# Machines that boot take half a minute; the tests of tests/machines and tests/cluster ask for them.
os.environ["SANDBOX_MACHINES"] = "off"

# A run under mocks makes so many objects that Python's usual search for dead ones takes a fifth of its time.
gc.set_threshold(20_000, 20, 100)

Deploy = Callable[..., Recorder]


@pytest.fixture(autouse=True, scope="session")
def judged_requests() -> Iterator[None]:
    """Every request to AWS that a test makes, the operator's commands' too, has values that AWS takes."""
    ask = BaseClient._make_api_call

    @functools.wraps(ask)
    def judged(client: Any, operation: str, parameters: Mapping[str, Any]) -> Any:
        wrong = problems(parameters, client.meta.service_model.operation_model(operation))
        assert not wrong, wrong
        return ask(client, operation, parameters)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", judged)
        yield


@pytest.fixture(autouse=True, scope="session")
def mocks_begin_quickly() -> Iterator[None]:
    """Each mock of moto begins a session and prepares for all of AWS."""
    with pytest.MonkeyPatch.context() as patch:
        # The models of AWS's services are read once a process.
        patch.setattr("botocore.session.create_loader", functools.cache(loaders.create_loader))
        # Rules for thousands of addresses, for those who ask AWS by `requests`: nobody here.
        patch.setattr("moto.core.models.RESPONSES_METHODS", [])
        yield


TOGETHER = {
    "tests/cluster/aws/test_acceptance.py": "aws",
    "tests/cluster/aws/test_customization.py": "aws",
    "tests/cluster/aws/test_faults_leader.py": "aws",
    "tests/cluster/aws/test_faults_shared_folder.py": "aws",
    "tests/cluster/aws/test_faults_machine.py": "another on aws",
    "tests/cluster/aws/test_faults_up.py": "another on aws",
    "tests/cluster/hosts/test_faults_agent.py": "hosts",
    "tests/cluster/hosts/test_hosts.py": "hosts",
}
"""Files that take a quarter of an hour together and share a booted cluster."""


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """What `--dist loadfile` does, with the files of a group for one; `loadgroup` does not see pytest 9.2's marks."""
    if config.getoption("dist") != "loadfile":
        return None
    scheduler = LoadFileScheduling(config, log)
    scheduler._split_scope = lambda test: TOGETHER.get(file := test.partition("::")[0], file)
    return scheduler


@pytest.fixture
def deploy_stack(monkeypatch: pytest.MonkeyPatch) -> Deploy:
    """Run ``__main__.py`` for a stack file under mocks, with changes of its keys if wanted."""

    def run(stack: str = "sandbox", *, preview: bool = False, **changes: Any) -> Recorder:
        return deploy_changed(monkeypatch, stack, changes, preview=preview)

    return run


def deploy_changed(
    monkeypatch: pytest.MonkeyPatch, stack: str, changes: Mapping[str, Any], *, preview: bool
) -> Recorder:
    """The registrations of a stack file with some of its keys changed."""
    changed = {
        **stack_config(stack),
        **{f"graphistry-cluster:{key}": value for key, value in changes.items()},
    }
    texts = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in changed.items()
    }
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps(texts))
    # As the engine says it of a key that `pulumi config set --secret` has written.
    monkeypatch.setenv(
        "PULUMI_CONFIG_SECRET_KEYS",
        json.dumps([f"graphistry-cluster:{key}" for key in ("sshPrivateKey", "secretEnv")]),
    )
    if (
        DONE not in os.environ
    ):  # the preflight has tests of its own, and would look at an empty moto each time
        monkeypatch.setenv(DONE, "done")
    with mock_aws():
        return deploy(run_program, stack=stack, preview=preview)


def deployed(stack: str = "sandbox", **changes: Any) -> Recorder:
    """What ``deploy_stack`` answers, made once a process: for tests that patch nothing and only look."""
    return _deployed(stack, json.dumps(changes))


@functools.cache
def _deployed(stack: str, changes: str) -> Recorder:
    with pytest.MonkeyPatch.context() as monkeypatch:
        return deploy_changed(monkeypatch, stack, json.loads(changes), preview=False)


@pytest.fixture(scope="session")
def machines() -> Machines:
    """What machines need, installed and built where it is missing, as `./cluster up` does."""
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SANDBOX_MACHINES", raising=False)  # off for all other tests
        prepared = availability.prepare(said.append)
    if prepared is None:
        pytest.skip(f"machines do not boot here: {said}")
    return prepared
