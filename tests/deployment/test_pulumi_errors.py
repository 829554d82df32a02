"""What a user reads when Pulumi cannot begin, with Pulumi itself where it needs no network."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from model.problems import UserError
from operate.commands.preparation import take_over
from operate.stack import deployment
from operate.stack.deployment import Deployment, Target, program_environment

pytestmark = pytest.mark.engine

PROJECT = "name: graphistry-cluster\nruntime: python\nstackConfigDir: stacks\n"
PASSPHRASE = "PULUMI_CONFIG_PASSPHRASE"


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A stack that exists, whose state is in a folder and whose secrets have a passphrase."""
    monkeypatch.setattr(deployment, "ROOT", tmp_path)
    (tmp_path / "Pulumi.yaml").write_text(PROJECT)
    (tmp_path / "stacks").mkdir()
    (tmp_path / "state").mkdir()
    file = tmp_path / "stacks" / "Pulumi.mine.yaml"
    file.write_text("config: {}\n")
    environment = {
        **program_environment(),
        "HOME": str(tmp_path),
        "PULUMI_HOME": str(tmp_path / "home"),
        "PULUMI_BACKEND_URL": f"file://{tmp_path}/state",
        PASSPHRASE: "right",
    }
    made = Deployment(stack="mine", target=Target.AWS, environment=environment, config_file=file)
    made.create()
    return made


def with_environment(opened: Deployment, **changes: str | None) -> Deployment:
    changed = {**opened.environment, **changes}
    kept = {name: value for name, value in changed.items() if value is not None}
    return dataclasses.replace(opened, environment=kept)


def test_the_right_passphrase_is_taken_and_nothing_is_written(opened: Deployment) -> None:
    before = opened.config_file.read_text()
    opened.require_passphrase()
    assert opened.config_file.read_text() == before


@pytest.mark.parametrize(
    ("passphrase", "found"),
    [
        (None, "the secrets of the stack mine are encrypted by a passphrase, and this shell has"),
        ("canary", "the passphrase in this shell is not the one of the stack mine"),
    ],
)
def test_a_missing_or_wrong_passphrase_is_told_with_what_to_type(
    opened: Deployment, passphrase: str | None, found: str
) -> None:
    with pytest.raises(UserError, match=found) as raised:
        with_environment(opened, **{PASSPHRASE: passphrase}).require_passphrase()
    assert "export PULUMI_CONFIG_PASSPHRASE=..." in str(raised.value)
    assert "canary" not in str(raised.value)
    assert "passphraseProbe" not in str(raised.value)


def test_it_is_told_before_anything_is_looked_at(opened: Deployment) -> None:
    with pytest.raises(UserError, match="this shell has none"):
        take_over(with_environment(opened, **{PASSPHRASE: None}))


def test_a_new_stack_needs_one_too(opened: Deployment) -> None:
    with pytest.raises(UserError, match="For a new stack choose one, and keep it"):
        dataclasses.replace(with_environment(opened, **{PASSPHRASE: None}), stack="new").create()


def test_without_a_login_the_places_for_a_state_are_told(opened: Deployment) -> None:
    with pytest.raises(UserError, match="Pulumi is not logged in") as raised:
        with_environment(opened, PULUMI_BACKEND_URL=None).exists()
    assert "`mkdir -p ~/pulumi-state && pulumi login file://$HOME/pulumi-state`" in str(
        raised.value
    )
    assert "./cluster environment mine" in str(raised.value)


def test_a_folder_that_is_gone_is_told(opened: Deployment, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the folder with the state does not exist") as raised:
        with_environment(opened, PULUMI_BACKEND_URL=f"file://{tmp_path}/gone").exists()
    assert f'Pulumi said: unable to open state directory "file://{tmp_path}/gone"' in str(
        raised.value
    )


OTHER_SALT = "v1:C5QxiWCe5rs=:v1:Pmc/sLEbdfy/sTj/:gS4Um5hsnmT17tL/WRtq6OQqyl7KQQ=="
OTHER_SECRET = f"v1:{OTHER_SALT.rpartition(':v1:')[2]}"


def with_stack_file(opened: Deployment, *, secure: str = "", **top: str) -> None:
    """Give the stack's file a private key of another stack, or other values at its top."""
    content = yaml.safe_load(opened.config_file.read_text()) | top
    key = {"graphistry-cluster:sshPrivateKey": {"secure": secure}} if secure else {}
    opened.config_file.write_text(yaml.safe_dump({**content, "config": key}))


@pytest.mark.parametrize("secure", ["abc", OTHER_SECRET], ids=["damaged", "of another stack"])
def test_a_secret_of_another_stack_is_named_with_what_puts_it_in_anew(
    opened: Deployment, secure: str
) -> None:
    with_stack_file(opened, secure=secure)
    with pytest.raises(
        UserError, match=r"sshPrivateKey or secretEnv in stacks/Pulumi\.mine"
    ) as raised:
        opened.read("config", "--json", "--show-secrets", *opened.configured())
    assert "`pulumi config set --secret sshPrivateKey --stack mine < " in str(raised.value)
    assert "Pulumi said: could not decrypt configuration values" in str(raised.value)
    assert OTHER_SECRET not in str(raised.value)


@pytest.mark.parametrize("salt", ["rubbish", "v1:abc", "v1:abc:v1:abc:abc"])
def test_a_damaged_salt_is_named(opened: Deployment, salt: str) -> None:
    with_stack_file(opened, encryptionsalt=salt)
    with pytest.raises(
        UserError, match=r"`encryptionsalt` in stacks/Pulumi\.mine\.yaml is not"
    ) as raised:
        opened.require_passphrase()
    assert "`pulumi config set --secret sshPrivateKey --stack mine" in str(raised.value)


def test_the_salt_of_another_stack_is_thought_of(opened: Deployment) -> None:
    with_stack_file(opened, encryptionsalt=OTHER_SALT)
    with pytest.raises(UserError, match="one of another stack does not fit"):
        opened.require_passphrase()


@pytest.mark.parametrize("file", ["gone", "state"], ids=["no file", "a folder"])
def test_a_file_of_the_passphrase_that_cannot_be_read_is_told(
    opened: Deployment, tmp_path: Path, file: str
) -> None:
    changes = {PASSPHRASE: None, f"{PASSPHRASE}_FILE": str(tmp_path / file)}
    with pytest.raises(UserError, match="the file that PULUMI_CONFIG_PASSPHRASE_FILE names cannot"):
        with_environment(opened, **changes).require_passphrase()


def test_a_secrets_provider_that_is_none_is_told(opened: Deployment) -> None:
    with_stack_file(opened, secretsprovider="nonsense")
    with pytest.raises(
        UserError, match=r"`secretsprovider` in stacks/Pulumi\.mine\.yaml cannot be"
    ):
        opened.require_passphrase()


@pytest.mark.parametrize("place", ["nonsense", "http://127.0.0.1:1"])
def test_a_place_of_the_state_that_is_none_is_asked_for(opened: Deployment, place: str) -> None:
    with pytest.raises(UserError, match="PULUMI_BACKEND_URL, where it is set, overrules"):
        with_environment(opened, PULUMI_BACKEND_URL=place).exists()
