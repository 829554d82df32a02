"""The README against the code that it describes."""

from __future__ import annotations

import re

import yaml
from rich.console import Console

from model.settings.aws import Settings
from model.settings.stack_keys import as_settings, checked
from operate.nodes.on_aws import Machine, Node, node_table
from preflight.tables import show
from tests.harness import ROOT

README = (ROOT / "README.md").read_text()


def fenced(language: str) -> str:
    """The first block of a language."""
    return README.split(f"```{language}\n", 1)[1].split("```", 1)[0]


def test_it_is_short() -> None:
    assert len(re.sub(r"\]\([^)]*\)|```.*?```", "", README, flags=re.DOTALL).split()) <= 500


def test_its_stack_file_is_sound_and_short() -> None:
    text = fenced("yaml")
    config = yaml.safe_load(text)["config"]
    settings = checked(config, as_settings(config))
    assert isinstance(settings, Settings)
    assert settings.node_names == ("leader", "small", "large")
    assert len(text.splitlines()) <= 15


def test_its_table_is_printed_as_make_up_prints_it() -> None:
    shown = fenced("text")
    found = []
    for line in shown.splitlines()[1:]:
        name, profile, instance_type, gpus, zone, address, state = re.split(r" {2,}", line)
        machine = Machine(
            instance_id="i-0abcdef0123456789",
            instance_type=instance_type,
            availability_zone=zone,
            address=address,
            state="running",
        )
        node = Node(
            name=name,
            role="leader" if name == "leader" else "follower",
            profile=profile,
            market="on-demand",
            gpus_used=int(gpus[0]),
            gpus=gpus,
            machine=machine,
            state=state,
        )
        found.append(node)
    console = Console(width=80, emoji=False, color_system=None)
    with console.capture() as printed:
        show(node_table(found), console)
    lines = [line.rstrip() for line in printed.get().splitlines()]
    assert lines == shown.splitlines()


def test_the_stack_files_of_the_tutorial_are_sound() -> None:
    text = (ROOT / "docs" / "tutorial" / "first-cluster.md").read_text()
    config = yaml.safe_load((ROOT / "stacks" / "Pulumi.sandbox.yaml").read_text())["config"]
    changes = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    assert len(changes) == 2
    for change in changes:
        loaded = yaml.safe_load(change)
        for key, value in loaded.items():
            config[key] = {**config[key], **value}
    settings = checked(config, as_settings(config))
    assert isinstance(settings, Settings)
    assert settings.node_names == ("leader", "small", "large", "extra")


def test_the_faults_are_counted() -> None:
    # Those that are imported are tried again, on the other site.
    aws, hosts = (
        sum(
            len(re.findall(r"^(?:def |    )test_\w+[,(]", file.read_text(), re.MULTILINE))
            for file in (ROOT / "tests" / "cluster" / site).glob("test_faults*.py")
        )
        for site in ("aws", "hosts")
    )
    counted = f"survived {aws} of {aws} on AWS and {hosts} of {hosts} on hosts"
    assert counted in (ROOT / "docs" / "explanation" / "faults.md").read_text()
    assert f"{aws} faults on AWS and {hosts} on hosts" in " ".join(README.split())
