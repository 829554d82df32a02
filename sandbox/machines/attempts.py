"""Things that are done again and again in the background, until they go well."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import docker.errors

from . import container
from .commands import MachineError
from .container import Surroundings

EXPECTED = (MachineError, docker.errors.DockerException, OSError)
"""What can go wrong with one machine and must not end a loop."""


@dataclass
class Attempts:
    """What goes wrong goes to the log and to the machine's console, and does not end anything."""

    around: Surroundings
    stopped: threading.Event
    """Set when everything ends: what goes wrong from then on is not told."""
    failed: dict[str, str] = field(default_factory=dict)
    """What was last said about a machine or a network, so that it is said once."""

    def one(self, name: str, act: Callable[..., None], *arguments: Any) -> bool:
        """Do something and record what goes wrong; whether it went well."""
        try:
            act(*arguments)
        except EXPECTED as error:
            self._say(name, words(error))
            return False
        except Exception as error:  # a defect of ours: the loop goes on, its log tells where
            self._say(name, "".join(traceback.format_exception(error)))
            return False
        self.failed.pop(name, None)
        return True

    def each(
        self,
        pool: ThreadPoolExecutor,
        items: Iterable[Any],
        act: Callable[[Any], None],
        name: Callable[[Any], str],
    ) -> None:
        """Do something for every item at the same time, whatever happens to the others."""
        list(pool.map(lambda item: self.one(name(item), act, item), items))

    def _say(self, name: str, said: str) -> None:
        if self.failed.get(name) == said or self.stopped.is_set():
            return
        self.failed[name] = said
        logging.warning("%s: %s", name, said)
        container.append_to_console(self.around, name, f"sandbox: {said}\n")


def words(error: BaseException) -> str:
    """What an error says, without what Docker puts around it."""
    return str(getattr(error, "explanation", None) or error)
