"""The lock of a machine image in a stack file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from model.problems import UserError
from model.settings.image import LockedImage
from model.settings.stack_keys import PROJECT
from operate.stack.deployment import ROOT, Deployment, Target, choice_of, default_target
from operate.stack.stack_file import read_to_edit, write_stack_file

KEY = f"{PROJECT}:image"


def stack_file_to_lock(deployment: Deployment) -> Path:
    """The file that gets the lock. Raises :class:`UserError` for a rehearsal, whose images are stand-ins."""
    stack = deployment.stack
    if deployment.target is not default_target(stack):
        why = (
            f"this is the sandbox, whose images are stand-ins for those of the account that {stack} is for"
            if deployment.target is Target.SANDBOX
            else f"this is an account of AWS, and the images of {stack} are stand-ins of the sandbox"
        )
        raise UserError(
            f"{why}. `./cluster image-refresh{choice_of(stack, None)}` looks at the right ones. Nothing was written"
        )
    return ROOT / "stacks" / f"Pulumi.{deployment.stack}.yaml"


def write_lock(stack_file: Path, region: str, lock: LockedImage) -> None:
    """Put a lock into a stack file, whose comments and order stay."""
    editor, content = read_to_edit(stack_file)
    values = {name: value for name, value in lock.model_dump(by_alias=True).items() if value}
    config = content["config"]
    section = config.get(KEY)
    if section and region in section.get("lock", {}):
        entry = section["lock"][region]
        for name in [name for name in entry if name not in values]:
            del entry[name]
        entry.update(values)
    elif section and "lock" in section:
        section["lock"].insert(0, region, values)
    elif section and section.fa.flow_style():
        section["lock"] = {region: values}
    else:
        if not section:
            config.pop(KEY, None)
        with_lock = _with_lock(_dumped(editor, content), region, values, bool(section))
        write_stack_file(stack_file, with_lock)
        return
    write_stack_file(stack_file, _dumped(editor, content))


def _dumped(editor: Any, content: Any) -> str:
    stream = StringIO()
    editor.dump(content, stream)
    return stream.getvalue()


def _with_lock(text: str, region: str, values: Mapping[str, str], has_section: bool) -> str:
    """A stack file with a lock first in its section, which is made if need be.

    Written as text: what parses YAML takes a comment for a part of what stands above it, and would move some.
    """
    lock = ["    lock:", f"      {region}:"]
    lock += [
        f"        {key}: {json.dumps(each, ensure_ascii=False)}" for key, each in values.items()
    ]
    if has_section:
        above, added = rf"^  {KEY}:.*\n", [*lock, ""]
    else:
        heading = ["  # Written by `./cluster image-refresh`.", f"  {KEY}:"]
        above, added = r"^config:.*\n", [*heading, *lock, "", ""]
    return re.sub(above, lambda match: match[0] + "\n".join(added), text, count=1, flags=re.M)
