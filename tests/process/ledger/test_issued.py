"""Certificates of the local CA, enrolled over the wire and checked with nothing but what /cacerts gave."""

from __future__ import annotations

import base64

from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7

from tests.process.conftest import check_log
from tests.process.sites import ALICE, Site
from tests.support import pki
from tests.support.daemon import Daemon
from tests.web.fakes import basic, body
from tests.web.wire import EST, Answer


def certificates(answer: Answer) -> list[x509.Certificate]:
    assert answer.status == 200, answer
    return pkcs7.load_der_pkcs7_certificates(base64.b64decode(answer.body))


def test_cac_03_04_enrolled_certificates_lead_to_the_root_through_the_bag(own: Site) -> None:
    own = Site(own.folder, below_a_root=True)
    own.write()
    key = pki.ec_key()
    names = pki.san("device-1.example")
    with Daemon(own.config) as daemon:
        with own.client().connect() as connection:
            bag = certificates(connection.get(f"{EST}/cacerts"))
            enroll = body(pki.csr(key, "CN=device-1", names))
            (first,) = certificates(connection.post(f"{EST}/simpleenroll", enroll, authorization=basic(*ALICE)))
        with own.client(pki.Identity(first, key)).connect() as connection:
            (second,) = certificates(connection.post(f"{EST}/simplereenroll", body(pki.csr(key, "CN=device-1", names))))
    check_log(daemon)
    assert first.serial_number != second.serial_number
    for leaf in (first, second):
        assert leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value == names
        (issuer,) = (each for each in bag if each.subject == leaf.issuer)
        (root,) = (each for each in bag if each.subject == issuer.issuer)
        leaf.verify_directly_issued_by(issuer)
        issuer.verify_directly_issued_by(root)
        root.verify_directly_issued_by(root)
