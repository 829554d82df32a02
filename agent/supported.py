"""What machines the agent supports, judged by versions alone: before a machine boots, and on it."""

from __future__ import annotations

from agent.machine.versions import is_at_least

COMPOSE = "2.24.4"
"""The first version of Docker's compose plugin that knows `!override` (docs.docker.com, compose file, merge)."""


TESTED = ("ubuntu 22.04", "ubuntu 24.04", "amzn 2023")


def os_release(text: str) -> dict[str, str]:
    """The variables of /etc/os-release."""
    pairs = [line.partition("=") for line in text.splitlines() if "=" in line]
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}


def knows_override(compose: str) -> bool:
    """Whether a version of Docker's compose plugin can replace ports."""
    return is_at_least(compose, COMPOSE)


def driver_verdict(driver: str, cuda: str) -> tuple[bool, str]:
    """Whether the driver runs the release's CUDA flavour (the vendor's matrix for 2.50), and why."""
    needed = "590.44.01" if cuda == "13" else "575.51.03"
    if is_at_least(driver, needed):
        return True, f"{driver} runs CUDA flavour {cuda}"
    if cuda == "12" and is_at_least(driver, "570"):
        return (
            True,
            f"{driver} runs CUDA flavour 12 by forward compatibility only; {needed} is advised",
        )
    return False, f"the NVIDIA driver is {driver}; CUDA flavour {cuda} needs {needed} or newer"
