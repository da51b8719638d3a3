"""The doctor while Dogtag's LDAP server is dead. Kills it: nothing else may use the lab meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dogtag.daemon.test_doctor import Patient, label
from tests.dogtag.lab_control import kill, start
from tests.dogtag.lab_export import Lab


@pytest.fixture
def patient(tmp_path: Path, lab: Lab) -> Iterator[Patient]:
    """With LDAP down; at the end it is up again, and the CA finds its certificates."""
    patient = Patient(tmp_path, lab)
    kill("ds")
    try:
        yield patient
    finally:
        time.sleep(5)  # 389-ds does not start while the killed one still has its entry in /proc
        start()
        deadline = time.monotonic() + 60
        while patient.examined().code:
            assert time.monotonic() < deadline
            time.sleep(1)


def test_it_is_ldap_and_not_the_agent(patient: Patient) -> None:
    found = patient.examined("--enroll", label=label("slow", "kipukaServerManual"))
    assert found.code == 1
    assert any("ca lab: its directory server is down" in each for each in found.lines["fault"])
    assert any("cannot be told while its directory server is down" in each for each in found.lines["fault"])
    assert not any("does not know the agent certificate" in each for each in found.lines["fault"])
