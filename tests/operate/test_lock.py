"""Two commands that would change one stack."""

import subprocess
import sys
from pathlib import Path

import pytest

from model.problems import UserError
from operate.stack.lock import alone

HOLD = """
import sys
from pathlib import Path
from operate.stack.lock import alone
with alone(Path(sys.argv[1]), "prod"):
    print("at work", flush=True)
    sys.stdin.read()
"""


def test_the_second_is_told_of_the_first_until_that_ends(tmp_path: Path) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=pipe, stdout=pipe
    ) as first:
        assert first.stdout
        assert first.stdout.readline() == b"at work\n"
        words = rf"another command \(process {first.pid}\) is changing the stack prod; wait"
        with pytest.raises(UserError, match=words), alone(tmp_path, "prod"):
            pass
        with alone(tmp_path, "dev"):
            pass
        first.kill()
    with alone(tmp_path, "prod"):
        pass
