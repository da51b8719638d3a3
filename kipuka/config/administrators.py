"""Whose certificates make administrators, and whether kipuka itself hands such certificates out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from cryptography import x509

from kipuka.config import material
from kipuka.config.certificates import is_same_ca, leads_to, with_those_below
from kipuka.config.model import Ca, Config, DogtagCa, FileCa

Read = Callable[[Iterable[Path]], Iterable[x509.Certificate]]


def readable(paths: Iterable[Path]) -> Iterator[x509.Certificate]:
    """Read certificates, and pass over files that cannot be read: that is a fault of its own."""
    for path in paths:
        with suppress(material.MaterialError):
            yield from material.certificates(path)


def makers(config: Config, read: Read = material.all_certificates) -> frozenset[x509.Certificate]:
    """The CAs whose certificates make administrators: those that are named, and CAs of devices that are below them.

    :raises MaterialError: ``read`` does.
    """
    return with_those_below(read(config.admin.trust_anchors), read(config.tls.client_auth.trust_anchors))


def own_makers(config: Config) -> Iterator[str]:
    """Name the CAs of this configuration whose certificates, by what its files say, are those of administrators.

    What a Dogtag really issues with is not in a file: of one whose ``ca_cert`` does not show it the doctor tells.
    """
    found = makers(config, readable)
    for ca in config.ca:
        if leads_to(readable(_files(ca)), found):
            yield ca.id


def unnamed_makers(config: Config) -> Iterator[x509.Certificate]:
    """The CAs among :func:`makers` that are others than those that ``admin.trust_anchors`` names."""
    named = frozenset(readable(config.admin.trust_anchors))
    for ca in makers(config, readable) - named:
        if not any(is_same_ca(ca, each) for each in named):
            yield ca


def _files(ca: Ca) -> tuple[Path, ...]:
    """Where the CA's certificate and those above it are."""
    match ca:
        case FileCa():
            return (ca.cert,) if ca.chain is None else (ca.cert, ca.chain)
        case DogtagCa():
            return (ca.ca_cert,)
    return ()
