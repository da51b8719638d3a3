"""What a test needs of the machine. Without it the test is skipped, with the reason; in CI that is a failure."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def programs(*names: str, install: str = "tests/interop/install") -> None:
    """Go on if all these programs are there.

    :param install: what installs them, as root.
    """
    if absent := [name for name in names if shutil.which(name) is None]:
        lacking(f"not installed: {' '.join(absent)} ({install}, as root, installs what the tests use)")


def lacking(reason: str) -> NoReturn:
    """End the test. Where CI misses something there would be a test that nobody misses."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
