"""The lab must be running; its absence fails the run, for these tests were asked for by name."""

from __future__ import annotations

import pytest

from tests.dogtag import lab_export
from tests.dogtag.lab_export import Lab


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The running lab."""
    try:
        return lab_export.read()
    except LookupError as missing:
        pytest.exit(f"{missing}. Run `make test-dogtag` (as root), which brings it up.", returncode=1)
