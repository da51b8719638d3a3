"""The lab must be running; its absence fails the run, for these tests were asked for by name."""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.chaos.dogtag import Dogtag
from tests.dogtag import lab_export
from tests.dogtag.lab_export import Lab


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The running lab, in which nothing waits for an agent."""
    try:
        place = lab_export.read()
    except LookupError as missing:
        pytest.exit(f"{missing}. Run `make test-dogtag` (as root), which brings it up.", returncode=1)
    with closing(Dogtag(place)) as agent:
        agent.cancel_all()
    return place
