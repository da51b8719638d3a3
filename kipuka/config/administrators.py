"""Whose certificates make administrators, and whether kipuka itself hands such certificates out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from cryptography import x509

from kipuka.config import material
from kipuka.config.certificates import leads_to
from kipuka.config.model import Admin, Ca, Config, DogtagCa, FileCa


def anchors(admin: Admin) -> tuple[x509.Certificate, ...]:
    """The CAs whose certificates make administrators.

    :raises MaterialError: one cannot be read.
    """
    return tuple(anchor for path in admin.trust_anchors for anchor in material.certificates(path))


def own_makers(config: Config) -> Iterator[str]:
    """Name the CAs of this configuration whose certificates, by what its files say, are those of administrators.

    What a Dogtag really issues with is not in a file: of one whose ``ca_cert`` does not show it the doctor tells.
    Files that cannot be read are skipped; that is a fault of its own.
    """
    above = tuple(_readable(config.admin.trust_anchors))
    for ca in config.ca:
        if leads_to(tuple(_readable(_files(ca))), above):
            yield ca.id


def _files(ca: Ca) -> tuple[Path, ...]:
    """Where the CA's certificate and those above it are."""
    match ca:
        case FileCa():
            return (ca.cert,) if ca.chain is None else (ca.cert, ca.chain)
        case DogtagCa():
            return (ca.ca_cert,)
    return ()


def _readable(paths: Iterable[Path]) -> Iterator[x509.Certificate]:
    for path in paths:
        with suppress(material.MaterialError):
            yield from material.certificates(path)
