"""The page of conformance is what the tests' names say."""

from __future__ import annotations

import pytest

from tests import conformance

DOCUMENT = conformance.TESTS.parent / "docs" / "conformance.md"


def test_every_rule_has_a_test_or_a_reason() -> None:
    assert conformance.faults(conformance.rules(), conformance.covered()) == []


def test_the_committed_page_is_current() -> None:
    expected = conformance.document(conformance.rules(), conformance.covered())
    assert DOCUMENT.read_text("utf-8") == expected, "run make conformance and commit docs/conformance.md"


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("test_enc_03_t19_white_space", {"ENC-03", "T19"}),
        ("test_ren_01_04_same_names", {"REN-01", "REN-04"}),
        ("test_cac_03_enr_02", {"CAC-03", "ENR-02"}),
        ("test_the_same_tls_1_2_and_t_x", set()),
        ("test_trap_t02_line_length", {"T2"}),
    ],
)
def test_ids_are_read_from_names(name: str, ids: set[str]) -> None:
    assert conformance.ids_in(name) == ids


def test_a_rule_without_test_and_reason_is_a_fault() -> None:
    rule = conformance.Rule("Section", "ENC-99", "nonsense")
    assert any("ENC-99" in fault for fault in conformance.faults([rule], {}))


def test_what_is_partly_met_says_so_beside_its_tests() -> None:
    lines = DOCUMENT.read_text("utf-8").splitlines()
    assert conformance.PARTLY
    for id_, missing in conformance.PARTLY.items():
        (line,) = (line for line in lines if line.startswith(f"| {id_} |"))
        assert line.endswith(f".py`; **partly**: {missing} |")


def test_a_part_without_a_test_is_a_fault() -> None:
    rule = conformance.Rule("Section", "ENC-10", "no test carries it here")
    assert "ENC-10 is partly met without a test" in conformance.faults([rule], {})
    nobody = {rule.id for rule in conformance.rules()} - {"ENC-10"}
    where = conformance.covered()
    kept = [each for each in conformance.rules() if each.id in nobody]
    assert any("ENC-10 has a reason" in fault for fault in conformance.faults(kept, where))
