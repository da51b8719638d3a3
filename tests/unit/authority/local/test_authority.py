"""kipuka.authority.local: what the file CA issues, and what it refuses by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.internet.task import Clock

from kipuka.authority.interface import (
    Absent,
    ChangesNames,
    EnrollmentRequest,
    FindsRequests,
    Issued,
    KnowsStatus,
    Names,
    TracksRequests,
)
from kipuka.authority.local import LocalAuthority
from kipuka.authority.revoking import Revokes
from kipuka.errors import AuthorityError, Kind
from tests.support import pki
from tests.support.book import MemoryBook
from tests.support.dogtag.standin import now

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
NO_USES = dict.fromkeys(
    (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ),
    False,
)


def usage(*uses: str) -> x509.KeyUsage:
    return x509.KeyUsage(**(NO_USES | dict.fromkeys(uses, True)))


def clock_at(moment: datetime = pki.NOW) -> Clock:
    clock = Clock()
    clock.advance(moment.timestamp())
    return clock


def authority(issuer: pki.Issuer | None = None, moment: datetime = pki.NOW, **more: object) -> LocalAuthority:
    issuer = issuer or pki.root()
    options = {
        "chain": issuer.intermediates,
        "validity_days": 30,
        "clock": clock_at(moment),
        "in_book": MemoryBook(),
    } | more
    return LocalAuthority("local", issuer.certificate, issuer.key, **options)  # type: ignore[arg-type]


def issue(csr: x509.CertificateSigningRequest, ca: LocalAuthority | None = None, **more: object) -> x509.Certificate:
    outcome = now((ca or authority()).enroll(EnrollmentRequest(csr, None, "test", **more)))  # type: ignore[arg-type]
    assert isinstance(outcome, Issued)
    return outcome.certificate


def refusal(csr: x509.CertificateSigningRequest, kind: Kind = Kind.REFUSED, **more: object) -> str:
    with pytest.raises(AuthorityError) as caught:
        issue(csr, **more)  # type: ignore[arg-type]
    assert caught.value.kind is kind
    return caught.value.text


def value(certificate: x509.Certificate, kind: type[x509.ExtensionType]) -> x509.Extension[x509.ExtensionType]:
    return certificate.extensions.get_extension_for_class(kind)


def asking(*extensions: x509.ExtensionType, key: pki.PrivateKey | None = None, subject: str = "CN=device"):
    return pki.csr(key or pki.ec_key(), subject, extensions=[(each, False) for each in extensions])


@pytest.mark.parametrize(
    ("ca_key", "digest"),
    [
        (pki.ec_key(), hashes.SHA256),
        (pki.ec_key(ec.SECP384R1()), hashes.SHA384),
        (pki.ec_key(ec.SECP521R1()), hashes.SHA512),
        (pki.rsa_key(), hashes.SHA256),
        (ed25519.Ed25519PrivateKey.generate(), type(None)),
    ],
    ids=["P-256", "P-384", "P-521", "RSA", "Ed25519"],
)
@pytest.mark.parametrize("key", [pki.ec_key(), pki.rsa_key(), ed25519.Ed25519PrivateKey.generate()])
def test_enr_03_the_certificate_carries_the_csrs_key_and_verifies(ca_key, digest, key) -> None:
    issuer = pki.root(key=ca_key)
    csr = pki.csr(key, "CN=device,O=Example", pki.san("device.example", "192.0.2.1"))
    certificate = issue(csr, authority(issuer))
    certificate.verify_directly_issued_by(issuer.certificate)
    assert isinstance(certificate.signature_hash_algorithm, digest)
    assert certificate.public_key() == key.public_key()
    assert certificate.subject.public_bytes() == csr.subject.public_bytes()
    assert value(certificate, x509.SubjectAlternativeName).value == pki.san("device.example", "192.0.2.1")
    assert certificate.version is x509.Version.v3


def test_the_extensions_of_every_certificate() -> None:
    issuer = pki.root()
    certificate = issue(asking(), authority(issuer))
    constraints = value(certificate, x509.BasicConstraints)
    assert (constraints.value, constraints.critical) == (x509.BasicConstraints(ca=False, path_length=None), True)
    assert value(certificate, x509.KeyUsage).critical
    assert value(certificate, x509.KeyUsage).value == usage("digital_signature")
    assert value(certificate, x509.ExtendedKeyUsage).value == x509.ExtendedKeyUsage([SERVER, CLIENT])
    ca_id = value(issuer.certificate, x509.SubjectKeyIdentifier).value
    assert value(certificate, x509.AuthorityKeyIdentifier).value.key_identifier == ca_id.digest  # type: ignore[attr-defined]
    own_id = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    assert value(certificate, x509.SubjectKeyIdentifier).value == own_id
    assert len(certificate.extensions) == 5


def test_an_rsa_key_may_encipher_keys_by_default() -> None:
    certificate = issue(asking(key=pki.rsa_key()))
    assert value(certificate, x509.KeyUsage).value == usage("digital_signature", "key_encipherment")


@pytest.mark.parametrize(
    ("asked", "key"),
    [
        (usage("key_agreement"), pki.ec_key()),
        (usage("key_agreement", "decipher_only"), pki.ec_key()),
        (usage("content_commitment"), pki.ec_key()),
        (usage("key_encipherment"), pki.rsa_key()),
        (usage("digital_signature", "data_encipherment"), pki.rsa_key()),
    ],
)
def test_enr_05_key_usage_is_granted_as_asked(asked: x509.KeyUsage, key: pki.PrivateKey) -> None:
    assert value(issue(asking(asked, key=key)), x509.KeyUsage).value == asked


def test_enr_05_extended_key_usage_is_granted_as_asked() -> None:
    asked = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.IPSEC_IKE])
    assert value(issue(asking(asked)), x509.ExtendedKeyUsage).value == asked


def test_enr_05_what_is_always_there_may_be_asked_for() -> None:
    key = pki.ec_key()
    own_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    issue(asking(x509.BasicConstraints(ca=False, path_length=None), own_id, key=key))


@pytest.mark.parametrize(
    ("asked", "key", "word"),
    [
        (x509.BasicConstraints(ca=True, path_length=None), pki.ec_key(), "no CA certificates"),
        (x509.BasicConstraints(ca=True, path_length=0), pki.ec_key(), "no CA certificates"),
        (usage("key_cert_sign"), pki.ec_key(), "keyCertSign"),
        (usage("digital_signature", "crl_sign"), pki.ec_key(), "cRLSign"),
        (usage("key_encipherment"), pki.ec_key(), "keyEncipherment"),
        (usage("key_agreement"), pki.rsa_key(), "keyAgreement"),
        (usage("data_encipherment"), ed25519.Ed25519PrivateKey.generate(), "dataEncipherment"),
        (usage(), pki.ec_key(), "names no use"),
        (x509.ExtendedKeyUsage([CLIENT, ExtendedKeyUsageOID.CODE_SIGNING]), pki.ec_key(), "1.3.6.1.5.5.7.3.3"),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), pki.ec_key(), "1.3.6.1.5.5.7.3.9"),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), pki.ec_key(), "2.5.29.37.0"),
        (x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.3.6.1.5.5.7.3.28")]), pki.ec_key(), "1.3.6.1.5.5.7.3.28"),
        (x509.SubjectKeyIdentifier(b"mine"), pki.ec_key(), "subject key identifier"),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), pki.ec_key(), "1.2.3.4"),
        (x509.OCSPNoCheck(), pki.ec_key(), "1.3.6.1.5.5.7.48.1.5"),
        (
            x509.NameConstraints(permitted_subtrees=[x509.DNSName("a")], excluded_subtrees=None),
            pki.ec_key(),
            "2.5.29.30",
        ),
    ],
)
def test_enr_05_what_is_not_granted_is_refused_by_name(
    asked: x509.ExtensionType, key: pki.PrivateKey, word: str
) -> None:
    assert word in refusal(asking(asked, key=key))


def test_enr_09_weak_and_odd_keys_are_refused() -> None:
    assert "1024" in refusal(pki.csr(pki.rsa_key(1024), "CN=short"))
    assert "secp256k1" in refusal(pki.csr(pki.ec_key(ec.SECP256K1()), "CN=odd"))


def test_enr_01_a_csr_with_a_broken_signature_is_invalid() -> None:
    der = bytearray(pki.csr(pki.ec_key(), "CN=broken").public_bytes(Encoding.DER))
    der[der.index(b"broken")] ^= 1
    refusal(x509.load_der_x509_csr(bytes(der)), Kind.INVALID)


def test_an_empty_subject_needs_a_name_which_is_then_critical() -> None:
    assert "neither" in refusal(pki.csr(pki.ec_key(), ""))
    certificate = issue(pki.csr(pki.ec_key(), "", pki.san("only.example")))
    names = value(certificate, x509.SubjectAlternativeName)
    assert (names.value, names.critical) == (pki.san("only.example"), True)
    assert not value(issue(pki.csr(pki.ec_key(), "CN=d", pki.san("d"))), x509.SubjectAlternativeName).critical


def test_enr_06_other_names_replace_those_of_the_csr() -> None:
    csr = pki.csr(pki.ec_key(), "CN=old", pki.san("old.example"))
    certificate = issue(csr, names=Names(pki.name("CN=new"), pki.san("new.example")))
    assert certificate.subject == pki.name("CN=new")
    assert value(certificate, x509.SubjectAlternativeName).value == pki.san("new.example")
    without = issue(csr, names=Names(pki.name("CN=new"), None))
    with pytest.raises(x509.ExtensionNotFound):
        value(without, x509.SubjectAlternativeName)
    refusal(csr, names=Names(pki.name(""), None))


def test_ren_04_a_renewal_is_issued_with_the_same_and_with_another_key() -> None:
    ca, key = authority(), pki.ec_key()
    old = issue(pki.csr(key, "CN=device"), ca)
    for csr in (pki.csr(key, "CN=device"), pki.csr(pki.ec_key(), "CN=device")):
        new = issue(csr, ca, renews=old)
        assert new.public_key() == csr.public_key()
        assert new.serial_number != old.serial_number


def test_validity_starts_a_little_in_the_past_and_ends_with_the_ca() -> None:
    issuer = pki.root(not_before=pki.NOW - timedelta(days=9), not_after=pki.NOW + timedelta(days=40))
    certificate = issue(asking(), authority(issuer))
    assert certificate.not_valid_before_utc == pki.NOW - timedelta(minutes=5)
    assert certificate.not_valid_after_utc == pki.NOW + timedelta(days=30)
    late = issue(asking(), authority(issuer, pki.NOW + timedelta(days=39)))
    assert late.not_valid_after_utc == issuer.certificate.not_valid_after_utc
    early = issue(asking(), authority(issuer, pki.NOW - timedelta(days=9) + timedelta(seconds=10)))
    assert early.not_valid_before_utc == issuer.certificate.not_valid_before_utc


@pytest.mark.parametrize("days", [-10, 41])
def test_a_ca_outside_its_own_validity_issues_nothing(days: int) -> None:
    issuer = pki.root(not_before=pki.NOW - timedelta(days=9), not_after=pki.NOW + timedelta(days=40))
    refusal(asking(), Kind.MISCONFIGURED, ca=authority(issuer, pki.NOW + timedelta(days=days)))


def test_serial_numbers_are_random_positive_and_of_at_most_20_octets() -> None:
    ca = authority()
    numbers = [issue(asking(), ca).serial_number for _ in range(20)]
    assert len(set(numbers)) == 20
    assert all(0 < number < 2**159 for number in numbers)
    assert max(numbers).bit_length() > 120
    assert issue(asking(), authority(serial=lambda: 42)).serial_number == 42


def test_the_chain_starts_with_the_ca_and_names_nothing_twice() -> None:
    root = pki.root()
    middle = root.intermediate()
    ca = authority(middle, chain=(middle.certificate, root.certificate))
    assert now(ca.chain()) == (middle.certificate, root.certificate)


def test_a_profile_is_not_known_here() -> None:
    with pytest.raises(AuthorityError) as caught:
        now(authority().enroll(EnrollmentRequest(asking(), "caServerCert", "x")))
    assert caught.value.kind is Kind.MISCONFIGURED


def test_capabilities() -> None:
    ca = authority()
    assert isinstance(ca, ChangesNames)
    assert isinstance(ca, KnowsStatus)
    assert isinstance(ca, Revokes)
    assert ca.id == "local"
    assert now(ca.close()) is None


@pytest.mark.parametrize(
    ("certificate", "key", "word"),
    [
        (pki.root().certificate, pki.ec_key(), "private key"),
        ((leaf := pki.root().client()).certificate, leaf.key, "not one of a CA"),
        (
            (
                no_sign := pki.root().certify(
                    key := pki.ec_key(),
                    "CN=x",
                    extensions=[(x509.BasicConstraints(ca=True, path_length=None), True), (usage("crl_sign"), True)],
                )
            ),
            key,
            "may not sign",
        ),
        (pki.root().certify(bare := pki.ec_key(), "CN=x"), bare, "no basic constraints"),
    ],
)
def test_what_is_no_ca_is_not_taken_for_one(certificate: x509.Certificate, key: pki.PrivateKey, word: str) -> None:
    with pytest.raises(AuthorityError, match=word) as caught:
        LocalAuthority("x", certificate, key, (), 30, clock_at(), MemoryBook())
    assert caught.value.kind is Kind.MISCONFIGURED


def test_the_keys_are_not_in_the_repr() -> None:
    assert "key" not in repr(authority()).lower()


def test_the_clock_is_utc() -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    issuer = pki.root(not_before=moment - timedelta(days=9), not_after=moment + timedelta(days=99))
    assert issue(asking(), authority(issuer, moment)).not_valid_before_utc == moment - timedelta(minutes=5)


def test_what_was_issued_and_lost_is_nowhere() -> None:
    ca = authority()
    issue(asking(), ca)
    assert isinstance(ca, FindsRequests)
    assert now(ca.find("00" * 32, "CN=lost", pki.NOW, frozenset())) == Absent()


def test_nothing_ever_waits_for_a_person() -> None:
    assert not isinstance(authority(), TracksRequests)
