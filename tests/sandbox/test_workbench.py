"""When a workbench container is used, what it is given, and when it ends.

Docker is a shell script on PATH that writes down what it is asked; nothing is built or started here.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from typer.testing import CliRunner, Result

from model.problems import UserError
from operate import __main__ as operator
from operate.commands import ending, host_keys, screen
from operate.stack import session
from operate.stack.deployment import Deployment
from sandbox import workbench
from sandbox.machines import image
from tests.harness import ROOT

# A command that shall fail has its words in a file; whether something is there is a file as well.
DOCKER = """#!/bin/sh
cd {state}
echo "$*" >> calls
[ -e fails-$1 ] && {{ cat fails-$1 >&2; exit 1; }}
case "$1" in
images) [ ! -e image ] || echo 0123abcd ;;
build) cat > image ;;
run) touch running ;;
rm) rm running ;;
container) [ -e running ] ;;
cp) cat > settings ;;
exec)
    case "$*" in
    *flock*) [ ! -e sandbox ] ;;
    *"kill -INT"*) echo > gate ;;
    *operate*) if [ -e gate ]; then echo > started; cat gate; fi; exit 7 ;;
    esac ;;
esac
"""


class Computer:
    """A user's computer with a Docker, and a checkout on it."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "docker"
        self.checkout = folder / "checkout"
        self.home = folder / "home"
        self.said: list[str] = []
        for each in (self.state, self.checkout, self.home):
            each.mkdir()
        program = self.state / "docker"
        program.write_text(DOCKER.format(state=self.state))
        program.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        """What Docker was asked."""
        written = self.state / "calls"
        return written.read_text().splitlines() if written.exists() else []

    def asked(self, command: str) -> str:
        """The only call of a command."""
        (found,) = [call for call in self.calls if call.startswith(f"{command} ")]
        return found

    def fails(self, command: str, words: str) -> None:
        (self.state / f"fails-{command}").write_text(words)

    def start(self) -> workbench.Workbench | None:
        return workbench.start(self.checkout, self.said.append)

    def started(self) -> workbench.Workbench:
        bench = self.start()
        assert bench is not None, self.said
        return bench


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Computer:
    """A computer on which machines cannot boot directly, whose user has set nothing."""
    made = Computer(tmp_path)
    for name in list(os.environ):
        if name in workbench.VARIABLES or name.startswith(workbench.PREFIXES):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(made.home))
    monkeypatch.setenv("PATH", f"{made.state}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(workbench, "impossible", lambda: "they need root")
    return made


def test_no_docker_is_asked_where_machines_boot(
    computer: Computer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbench, "impossible", lambda: None)
    assert (computer.start(), workbench.find(computer.checkout)) == (None, None)
    assert (computer.calls, computer.said) == ([], [])


def test_no_docker_is_asked_where_machines_are_switched_off(
    computer: Computer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANDBOX_MACHINES", "off")
    assert (computer.start(), workbench.find(computer.checkout)) == (None, None)
    assert (computer.calls, computer.said) == ([], [])


def test_a_computer_without_docker_has_no_workbench(
    computer: Computer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(computer.home))
    assert (computer.start(), workbench.find(computer.checkout)) == (None, None)
    assert computer.said == []


def test_a_docker_that_does_not_answer_is_left_alone(computer: Computer) -> None:
    computer.fails("version", "Cannot connect to the Docker daemon")
    assert computer.start() is None
    assert (computer.calls, computer.said) == (["version"], [])


def test_the_container_is_built_once_and_one_line_says_so(computer: Computer) -> None:
    bench = computer.started()
    assert (computer.state / "image").read_bytes() == workbench.DOCKERFILE.read_bytes()
    (line,) = computer.said
    for told in (
        "workbench container",
        "your Docker",
        "a .venv in it",
        "1 to 2 minutes",
        "`./cluster down` ends",
    ):
        assert told in line
    assert workbench.find(computer.checkout) == bench == computer.started()
    assert len(computer.said) == 1
    computer.asked("build")
    computer.asked("run")


def test_a_later_start_builds_nothing(computer: Computer) -> None:
    computer.started().close(computer.said.append)
    computer.started()
    computer.asked("build")
    assert "starting the workbench" in computer.said[-1]


def test_the_container_has_the_checkout_and_keeps_root_out_of_it(computer: Computer) -> None:
    bench, root = computer.started(), computer.checkout
    words = computer.asked("run").split()
    assert {"--privileged", "--cgroupns=host", "--rm"} <= set(words)
    assert f"--mount=type=bind,source={root},target={root}" in words
    for folder in (".sandbox", ".venv"):
        volume = f"source={bench.name}{folder},target={root}/{folder}"
        assert f"--mount=type=volume,{volume}" in words
    # What Docker would have to make itself would be root's.
    assert all((root / folder).is_dir() for folder in (".sandbox", ".venv", ".build"))


def test_checkouts_have_containers_of_their_own(computer: Computer) -> None:
    one, other = (workbench.Workbench(computer.home / name) for name in ("one", "other"))
    assert one.name != other.name


@pytest.mark.parametrize("command", ["build", "run"])
def test_a_docker_that_refuses_is_told_in_one_line(computer: Computer, command: str) -> None:
    computer.fails(command, "docker: Error response from daemon: no privileges here.\n\nSee help.")
    assert computer.start() is None
    assert computer.said[1:] == [
        f"your Docker can boot no machines: docker {command}: "
        "docker: Error response from daemon: no privileges here."
    ]
    assert workbench.find(computer.checkout) is None


def test_a_docker_whose_containers_are_not_root_is_told_and_left_clean(computer: Computer) -> None:
    computer.fails("exec", "mknod: /dev/loop8: Operation not permitted\n")
    assert computer.start() is None
    assert "Operation not permitted" in computer.said[-1]
    computer.asked("rm")
    assert workbench.find(computer.checkout) is None


def test_a_command_runs_inside_with_the_users_settings_but_not_their_values(
    computer: Computer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:word@packages.invalid/simple")
    monkeypatch.setenv("SANDBOX_PORT", "4566")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nobody's business")
    assert computer.started().run(["up", "my own"]) == 7
    call = computer.calls[-1]
    assert call.endswith("up my own")
    assert f"--workdir {computer.checkout} " in call
    assert "--env PIP_INDEX_URL --env SANDBOX_PORT " in call
    assert "AWS_SECRET_ACCESS_KEY" not in call
    assert "word" not in "".join(computer.calls)


def test_proxies_hold_for_the_build(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.invalid:3128")
    computer.started()
    assert "--build-arg=https_proxy " in computer.asked("build")


def test_files_that_say_whom_to_trust_are_inside_where_they_are_here(
    computer: Computer, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = computer.home / "company.pem"
    authority.write_text("a certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    monkeypatch.setenv("PIP_CERT", "/nowhere.pem")
    settings = computer.home / ".config" / "pip" / "pip.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text("[global]")
    computer.started()
    with tarfile.open(fileobj=io.BytesIO((computer.state / "settings").read_bytes())) as tar:
        assert set(tar.getnames()) == {str(authority).lstrip("/"), "root/.config/pip/pip.conf"}


def test_the_container_lives_as_long_as_its_sandbox(computer: Computer) -> None:
    bench = computer.started()
    (computer.state / "sandbox").touch()
    bench.close(computer.said.append)
    assert workbench.find(computer.checkout) == bench
    (computer.state / "sandbox").unlink()
    bench.close(computer.said.append)
    assert workbench.find(computer.checkout) is None
    assert "removed" in computer.said[-1]


def test_ctrl_c_reaches_the_command_and_its_end_is_waited_for(computer: Computer) -> None:
    computer.started()
    for name in ("started", "gate"):
        os.mkfifo(computer.state / name)
    run = f"workbench.Workbench(Path({str(computer.checkout)!r})).run(['up'])"
    program = (
        f"import sys; from pathlib import Path; from sandbox import workbench; sys.exit({run})"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    (computer.state / "started").read_bytes()  # the command runs
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(20) == 7


def test_the_image_has_all_that_machines_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("shutil.which", lambda program, **_: None)
    packages = set(image.missing_programs().values())
    assert "mmdebstrap" in packages
    assert packages | {"make", "python3-venv"} <= set(workbench.DOCKERFILE.read_text().split())


@pytest.fixture
def operated(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> Computer:
    """The same, with the operator's command line on the checkout."""
    monkeypatch.setattr(session, "ROOT", computer.checkout)
    for module in (session, host_keys, ending):
        monkeypatch.setattr(module, "SANDBOX_DIRECTORY", computer.checkout / ".sandbox")
    return computer


def operate(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    """One of the operator's commands, as from a shell."""
    monkeypatch.setattr(sys, "argv", ["operate", *arguments])
    return CliRunner().invoke(operator.app, arguments)


@pytest.mark.parametrize("command", ["up", "preview", "purge"])
def test_commands_that_begin_something_start_the_container(
    operated: Computer, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    arguments = (command, "prod", "--target", "sandbox")
    assert operate(monkeypatch, *arguments).exit_code == 7
    assert operated.calls[-1].endswith(" ".join(arguments))


@pytest.mark.parametrize(
    "command", ["status", "prove", "down", "shell sandbox leader", "host-keys onprem-sandbox"]
)
def test_commands_about_what_runs_start_nothing(
    operated: Computer, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    assert "the sandbox is not running" in operate(monkeypatch, *command.split()).stderr
    assert [call.split()[0] for call in operated.calls] == ["container"]
    operated.started()
    assert operate(monkeypatch, *command.split()).exit_code == 7
    assert any(call.endswith(command) for call in operated.calls)


def test_down_ends_the_container(operated: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    operated.started()
    operate(monkeypatch, "status")
    assert workbench.find(operated.checkout) is not None
    operate(monkeypatch, "down")
    assert workbench.find(operated.checkout) is None


def test_a_shell_outside_cannot_have_the_environment_of_inside(
    operated: Computer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = operated.started()
    done = operate(monkeypatch, "environment")
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"docker exec -it -w {operated.checkout} {bench.name} bash" in done.stderr
    assert not any("operate" in call for call in operated.calls)


@pytest.mark.parametrize("inside", [True, False])
def test_an_address_that_answers_inside_only_comes_with_the_way_inside(
    operated: Computer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    inside: bool,
) -> None:
    bench = workbench.Workbench(operated.checkout)
    monkeypatch.setattr(screen, "ROOT", operated.checkout)
    monkeypatch.setattr("socket.gethostname", lambda: bench.name if inside else "computer")
    sandbox = SimpleNamespace(aws_endpoint="http://127.0.0.1:4566", machines=True)
    screen.next_steps(
        cast(
            "Deployment",
            SimpleNamespace(choice=" sandbox", sandbox=sandbox, settings=None, stack="sandbox"),
        ),
        {},
    )
    told = capsys.readouterr().err
    assert sandbox.aws_endpoint in told
    assert (f"docker exec -it -w {operated.checkout} {bench.name} bash" in told) is inside


def test_a_stack_on_aws_has_nothing_to_do_with_it(
    operated: Computer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_deployment(*_: object, **__: object) -> None:
        raise UserError("went to AWS")

    monkeypatch.setattr(session, "open_deployment", open_deployment)
    operated.started()
    before = operated.calls
    assert "went to AWS" in operate(monkeypatch, "status", "prod").stderr
    assert operated.calls == before
