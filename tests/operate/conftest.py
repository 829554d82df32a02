"""What the tests of the operator's commands share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="package")
def no_images_of_moto() -> Iterator[None]:
    """Each mock of EC2 would make 1300 images that no test asks for; tests of images make their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        yield
