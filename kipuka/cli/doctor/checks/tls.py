"""The server's certificate, trust anchors, CRLs: names, chain, days left. What is broken, inspection has said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from kipuka.cli.doctor.findings import Finding, ok, warning
from kipuka.config import material
from kipuka.config.certificates import name_of
from kipuka.config.model import Config, DogtagCa, FileCa

SUBJECT = "tls"

SOON = timedelta(days=30)
"""A certificate that ends within this time, or within a quarter of its life if that is less, deserves a warning."""

_CRL_SOON = timedelta(days=1)
"""The same for a CRL; Dogtag's last four hours."""


def findings(config: Config, now: datetime) -> Iterator[Finding]:
    """Look at ``[tls]`` and ``[tls.client_auth]``."""
    chain = certificates(config.tls.cert)
    if chain:
        yield from _server(chain, known(config), now)
    anchors = [anchor for path in config.tls.client_auth.trust_anchors for anchor in certificates(path)]
    for anchor in anchors:
        yield validity(SUBJECT, f"the trust anchor {name_of(anchor.subject)}", anchor, now, "get its successor in time")
    if config.tls.client_auth.mode != "none" and not anchors:
        text = "no trust anchors for client certificates: devices cannot renew"
        yield warning(SUBJECT, text, "put the CA that kipuka issues from into tls.client_auth.trust_anchors")
    for path in config.tls.client_auth.crl:
        try:
            crls = material.crls(path)
        except material.MaterialError:
            continue
        for crl in crls:
            yield _crl(crl, now)


def validity(subject: str, what: str, certificate: x509.Certificate, now: datetime, remedy: str) -> Finding:
    """Say how long a certificate is still good. One that has ended is a matter of inspection and only noted here."""
    end = certificate.not_valid_after_utc
    left = end - now
    if left < timedelta(0):
        return warning(subject, f"{what} ended on {end:%Y-%m-%d}", remedy)
    text = f"{what} is valid until {end:%Y-%m-%d}, {left.days} days from now"
    if left < min(SOON, (end - certificate.not_valid_before_utc) / 4):
        return warning(subject, text, remedy)
    return ok(subject, text)


def fingerprints(subject: str, chain: Sequence[x509.Certificate]) -> Finding:
    """Show what a person compares who has a device take the answer of /cacerts on trust (RFC 7030 §4.1.1)."""
    found = (f"{name_of(each.subject)} {each.fingerprint(hashes.SHA256()).hex(':').upper()}" for each in chain)
    return ok(subject, f"SHA-256 fingerprints of what /cacerts serves: {', '.join(found)}")


def names(certificate: x509.Certificate) -> list[str]:
    """Return the DNS names and IP addresses of a certificate."""
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return []
    addresses = [str(each) for each in alternative.get_values_for_type(x509.IPAddress)]
    return [*alternative.get_values_for_type(x509.DNSName), *addresses]


def known(config: Config) -> dict[Path, tuple[x509.Certificate, ...]]:
    """Return the CA certificates that the configuration names, by file."""
    files = [*config.tls.client_auth.trust_anchors]
    for ca in config.ca:
        if isinstance(ca, DogtagCa):
            files.append(ca.ca_cert)
        elif isinstance(ca, FileCa):
            files += [each for each in (ca.chain, ca.cert) if each is not None]
    return {path: certificates(path) for path in files}


def root_of(chain: Sequence[x509.Certificate], files: dict[Path, tuple[x509.Certificate, ...]]) -> Path | None:
    """Return the file with the self-signed certificate that the chain leads to; None when no such file is known."""
    for path, found in files.items():
        for each in found:
            if each.issuer == each.subject and _issued(each, chain[-1]):
                return path
    return None


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _server(
    chain: tuple[x509.Certificate, ...], others: dict[Path, tuple[x509.Certificate, ...]], now: datetime
) -> Iterator[Finding]:
    hosts = ", ".join(names(chain[0])) or "nothing"
    yield ok(SUBJECT, f"the server's certificate is for {hosts}, issued by {name_of(chain[0].issuer)}")
    yield validity(
        SUBJECT, "the server's certificate", chain[0], now, "replace tls.cert and tls.key, and reload kipuka in time"
    )
    last = chain[-1]
    if len(chain) == 1 and last.issuer != last.subject and root_of(chain, others) is None:
        text = "tls.cert holds the server's certificate alone, without a chain"
        remedy = "append the intermediate certificates, unless its issuer is the root that devices trust"
        yield warning(SUBJECT, text, remedy)
    else:
        yield ok(SUBJECT, f"its chain has {len(chain)} certificates and leads to {name_of(last.issuer)}")


def _crl(crl: x509.CertificateRevocationList, now: datetime) -> Finding:
    what = f"the CRL of {name_of(crl.issuer)}"
    end = crl.next_update_utc
    if end is None:
        return warning(SUBJECT, f"{what} does not say when it ends", "fetch it again regularly")
    if end - now < min(_CRL_SOON, (end - crl.last_update_utc) / 4):
        return warning(SUBJECT, f"{what} is to be renewed by {end:%Y-%m-%d %H:%M UTC}", "fetch the current one")
    return ok(SUBJECT, f"{what} is good until {end:%Y-%m-%d %H:%M UTC}")


def certificates(path: Path) -> tuple[x509.Certificate, ...]:
    """Read the certificates of a file; none when it cannot be read, which the configuration's findings have said."""
    try:
        return material.certificates(path)
    except material.MaterialError:
        return ()
