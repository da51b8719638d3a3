"""Dogtag's own CRL in tls.client_auth.crl: a real one is usable, and the page that comes instead is refused."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kipuka.config import material
from kipuka.config.certificates import check_crl
from tests.support.dogtag import transcript

SIGNING, MADE, FETCHED, _, AT_THE_CLONE, ANOTHER_MADE, NO_SUCH, BY_NOBODY = transcript.read("10.10.2/38-crl.txt")
CA = x509.load_pem_x509_certificate(json.loads(SIGNING.answer.body)["Encoded"].encode())
CRL = x509.load_der_x509_crl(FETCHED.answer.body)


def test_it_is_der_and_usable_as_pem(tmp_path: Path) -> None:
    file = tmp_path / "crl.pem"
    file.write_bytes(FETCHED.answer.body)
    with pytest.raises(material.MaterialError, match="no PEM certificate revocation list"):
        material.crls(file)
    file.write_bytes(CRL.public_bytes(Encoding.PEM))
    (found,) = material.crls(file)
    assert found == CRL
    assert list(check_crl(found, [CA], found.last_update_utc)) == []


def test_it_ends_within_four_hours_on_the_round_hour() -> None:
    end = CRL.next_update_utc
    assert end is not None
    assert end - CRL.last_update_utc <= timedelta(hours=4)
    assert (end.minute, end.second) == (0, 0)
    (fault,) = check_crl(CRL, [CA], end + timedelta(seconds=1))
    assert "fetch the current one" in fault


def test_reasons_are_in_it_but_for_unspecified() -> None:
    reasons = [
        each.value.reason for entry in CRL for each in entry.extensions if isinstance(each.value, x509.CRLReason)
    ]
    assert x509.ReasonFlags.key_compromise in reasons
    assert x509.ReasonFlags.unspecified not in reasons
    assert len(reasons) < len(CRL)  # RFC 5280 §5.3.1 wants it left out


def test_what_was_refused_is_http_200_and_no_crl(tmp_path: Path) -> None:
    assert b"<time>" in MADE.answer.body
    for refused in (AT_THE_CLONE, NO_SUCH, BY_NOBODY):
        assert refused.answer.status == 200
        assert b"<time>" not in refused.answer.body
    assert b"MasterCRL" in ANOTHER_MADE.answer.body  # the name of the issuing point is not looked at
    file = tmp_path / "crl.pem"
    file.write_bytes(NO_SUCH.answer.body)
    with pytest.raises(material.MaterialError, match="no PEM certificate revocation list"):
        material.crls(file)
