"""The CA's certificate and what leads to its root: fetched, cached, and kept for a start without the CA."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from kipuka.authority.dogtag import wire
from kipuka.authority.dogtag.cached import Cached
from kipuka.authority.dogtag.rest import outcome
from kipuka.authority.dogtag.rest.paths import Operation
from kipuka.authority.dogtag.tracking import Call

Certificates = tuple[x509.Certificate, ...]

_LONGEST = 16
_LOOK_AGAIN = 10.0
"""Seconds after which a kept chain is looked for again, while there is none and the CA is away."""
_log = Logger("kipuka.dogtag")


class Keeper(Protocol):
    """Where chains outlive the process. Keeping is a comfort: trouble with it is logged there and raised never."""

    async def load(self, ca_id: str) -> str | None:
        """Return what was saved last for this CA, if there is anything to be had."""

    async def save(self, ca_id: str, chain: str) -> None:
        """Save a chain, PEM, in the place of the last one."""


class Chain:
    """The chain of one CA.

    A chain whose time is over is given out once more while a new one is fetched behind. In a new process the first
    is the one that was kept, so that ``/cacerts`` needs no CA to be reachable.

    :param ttl: seconds it is good for; 0 asks the CA each time and keeps nothing.
    :param trust: a kept chain must hold one of these certificates or end below one (see :func:`checked`).
    :param keeper: None keeps it in memory only.
    """

    def __init__(
        self,
        ca_id: str,
        call: Call,
        clock: IReactorTime,
        ttl: float,
        trust: Sequence[x509.Certificate] = (),
        keeper: Keeper | None = None,
    ) -> None:
        self._ca_id = ca_id
        self._call = call
        self._trust = trust
        self._keeper = keeper if ttl > 0 else None
        self._cached = Cached(self._fetch, clock, ttl, behind=True)
        self._kept = Cached(self._load, clock, _LOOK_AGAIN)

    async def get(self) -> Certificates:
        """Return the CA's certificate first and its root last.

        :raises AuthorityError: it is not to be had, and there is no older one.
        """
        if self._cached.is_empty and self._keeper is not None and (kept := await self._kept.get()):
            self._cached.offer(kept)
        return await self._cached.get()

    async def _fetch(self) -> Certificates:
        answer = await self._call(Operation.CHAIN)
        if answer.status != 200:
            raise outcome.failure(answer)
        chain = wire.chain(answer)
        if self._keeper is not None:  # whoever waits for the chain does not wait for the disk
            saving = self._keeper.save(self._ca_id, _pem(chain))
            Deferred.fromCoroutine(saving).addErrback(lambda failed: _log.failure("a chain was not kept", failed))
        return chain

    async def _load(self) -> Certificates | None:
        assert self._keeper is not None  # noqa: S101 - asked by get
        kept = await self._keeper.load(self._ca_id)
        if kept is None:
            return None
        try:
            return checked(kept, self._trust)
        except ValueError as fault:
            _log.warn("the kept chain of {ca} is not used: {fault}", ca=self._ca_id, fault=fault)
            return None


def checked(pem: str, trust: Sequence[x509.Certificate]) -> Certificates:
    """Read a chain that was kept where others may have written.

    Devices take what they get from ``/cacerts`` for their trust anchors. So each certificate must be a CA's and signed
    by the next, and one of them must be among ``trust``, or the last signed by one of these. Whoever can change the
    database can thus bring back an older chain of this CA, or name another CA below the same anchor, and nothing else.

    :raises ValueError: it is no such chain; the text says why.
    """
    chain = tuple(x509.load_pem_x509_certificates(pem.encode()))
    if len(chain) > _LONGEST:
        raise ValueError(f"{len(chain)} certificates are no chain")
    for certificate in chain:
        if not _is_ca(certificate):
            raise ValueError(f"{_name(certificate)} is not the certificate of a CA")
    for certificate, issuer in pairwise(chain):
        if not _issued(issuer, certificate):
            raise ValueError(f"{_name(certificate)} was not issued by {_name(issuer)}")
    if not any(certificate in trust for certificate in chain) and not any(_issued(each, chain[-1]) for each in trust):
        raise ValueError(f"{_name(chain[-1])} is not among the certificates in ca_cert, nor issued by one of them")
    return chain


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False
    return constraints.value.ca


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _name(certificate: x509.Certificate) -> str:
    return wire.printable(certificate.subject.rfc4514_string())


def _pem(chain: Certificates) -> str:
    return "".join(each.public_bytes(Encoding.PEM).decode("ascii") for each in chain)
