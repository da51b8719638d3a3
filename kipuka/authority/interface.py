"""What every CA implements, and the small optional capabilities some of them have.

A CA that is asked for something either answers with one of the values below or raises
:class:`kipuka.errors.AuthorityError`. Its kind tells a refusal from trouble, and "certainly not sent" from "answer
lost".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Protocol, runtime_checkable

from cryptography import x509


@dataclass(frozen=True)
class Names:
    """The names a certificate is to carry when they are not those of the CSR (ChangeSubjectName, RFC 6402 §2.8)."""

    subject: x509.Name
    alternative: x509.SubjectAlternativeName | None


@dataclass(frozen=True)
class EnrollmentRequest:
    """One certificate asked for, after every check of kipuka's own has passed.

    :param csr: the PKCS#10 request as the client sent it: an RA does not change it (RFC 5272 §7).
    :param profile: the CA's certificate profile; None means the CA's own default.
    :param requestor: who asks, in words for the CA's operators.
    :param names: set when the certificate is to carry other names than the CSR.
    :param renews: the certificate this one follows, when the operation was a re-enrollment.
    :param send_before: the reactor's time after which it must not be sent any more: whoever then finds nothing of it at
        the CA may submit it anew. A CA checks this in the last instant, for a process may be suspended at any moment.
    :param instance: which of several CAs behind one authority is to get it, as :meth:`ChoosesInstance.choose` said.
    """

    csr: x509.CertificateSigningRequest
    profile: str | None
    requestor: str
    names: Names | None = None
    renews: x509.Certificate | None = None
    send_before: float = math.inf
    instance: str | None = None


@dataclass(frozen=True)
class Issued:
    """The CA issued."""

    certificate: x509.Certificate


@dataclass(frozen=True)
class Pending:
    """The CA has the request and waits for a person.

    :param request_id: the CA's own number for it, as text.
    """

    request_id: str


Outcome = Issued | Pending


@dataclass(frozen=True)
class Refused:
    """The CA's policy, or one of its agents, said no; that is final.

    :param reason: the CA's words as far as it gives any, one bounded line that may be shown to the client.
    """

    reason: str


@dataclass(frozen=True)
class Undecided:
    """The CA's answer decides nothing: ask again later.

    :param why: for the log.
    """

    why: str


@dataclass(frozen=True)
class InProgress:
    """The CA has written the request down and has come to no result.

    It is being worked on, or the CA died over it: then it stays so for ever, and only time tells the two apart.

    :param longest_list: as for :class:`Absent`.
    """

    request_id: str
    longest_list: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Absent:
    """The CA has nothing of the request now; :meth:`FindsRequests.find` says what that proves.

    :param longest_list: how long the longest of the lists was that it was looked for in: of that length the caller may
        know that lists are cut there.
    """

    longest_list: int = field(default=0, compare=False)


Progress = Pending | Issued | Refused | Undecided
Finding = Issued | Pending | Refused | InProgress | Absent


@dataclass(frozen=True)
class PendingRequests:
    """The requests that wait for a person at the CA, kipuka's and others'.

    :param ids: their numbers, in the form of :attr:`Pending.request_id`.
    :param complete: whether a request that is not among them was probably decided; it must then be asked after, one by
        one. False when the list may have been cut short: a number that is missing means nothing.
    """

    ids: frozenset[str]
    complete: bool


class CertificateStatus(Enum):
    """What the CA says of a certificate it issued."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


class Authority(Protocol):
    """A CA, or something that behaves as one (a pool)."""

    @property
    def id(self) -> str:
        """The ``[[ca]] id`` of the configuration."""

    async def chain(self) -> tuple[x509.Certificate, ...]:
        """The CA certificate first, then whatever leads to its root, the root included.

        :raises AuthorityError: when no copy is to be had.
        """

    async def enroll(self, request: EnrollmentRequest) -> Outcome:
        """Ask for one certificate.

        :raises AuthorityError: refused, or in trouble; see :class:`kipuka.errors.Kind`.
        """

    async def close(self) -> None:
        """Give connections and keys back."""


@runtime_checkable
class ChangesNames(Protocol):
    """A CA that issues for :attr:`EnrollmentRequest.names` instead of the names in the CSR."""

    changes_names: bool


@runtime_checkable
class Probed(Protocol):
    """Something that can be asked whether it works: a CA, or what stands beside one."""

    async def probe(self) -> None:
        """Ask for something that cannot be had while any part of it is down, its directory included.

        It takes no turn behind other requests and has no side effects. How long to wait is the caller's business:
        cancelling ends it.

        :raises AuthorityError: it does not work now.
        """


@runtime_checkable
class ChoosesInstance(Protocol):
    """Several CAs that stand in for each other: the request must be written down for the one that gets it."""

    def choose(self, avoid: frozenset[str]) -> str:
        """Choose the CA that is to get the next request.

        :param avoid: the ids of those that certainly did not take this one.
        :raises AuthorityError: UNREACHABLE or BUSY, when no other can take it now.
        """


@runtime_checkable
class HasClones(Protocol):
    """A CA whose clones are asked in its place while it is away."""

    instances: frozenset[str]
    """The ids of all of them, its own included: what one has issued is in the others' records too."""


@runtime_checkable
class KnowsStatus(Protocol):
    """A CA that can be asked whether a certificate of its own is still good."""

    async def status(self, certificate: x509.Certificate) -> CertificateStatus:
        """Ask the authoritative source, not a CRL.

        :raises AuthorityError: when the CA cannot say now.
        """


@runtime_checkable
class TracksRequests(Protocol):
    """A CA whose pending requests can be followed."""

    async def still_pending(self, expected: int) -> PendingRequests:
        """Ask, in one call, for everything that is still pending.

        :param expected: how many requests of kipuka's wait, so that the list asked for is long enough.
        :raises AuthorityError: when the CA cannot say now.
        """

    async def progress(self, request_id: str) -> Progress:
        """Ask how one request stands, and fetch what was issued for it.

        The caller checks that the certificate carries the public key it asked for.

        :raises AuthorityError: when the CA cannot be asked, or gave an answer that cannot be understood.
        """


@runtime_checkable
class FindsRequests(Protocol):
    """A CA at which a request whose answer was lost can be looked up by its public key."""

    async def find(self, public_key: str, subject: str, since: datetime, known: frozenset[str]) -> Finding:
        """Look for what became of a request, over everything the CA has of it.

        Absent is a statement about now: a request that is still on its way, or waits inside the CA to be taken up, is
        seen by nobody. The caller asks again over a settling time before it believes that nothing will come.

        :param public_key: SHA-256 of the SubjectPublicKeyInfo, in the form of cryptography, as hex digits.
        :param subject: the subject asked for, RFC 4514. It only makes the search shorter: a CA may issue for another.
        :param since: no certificate issued earlier is meant. To allow for clocks that differ is the caller's business.
        :param known: what belongs to other enrollments and is not meant although its key may be the same: numbers of
            requests, in the form of :attr:`Pending.request_id`, and serial numbers of certificates, as hex with 0x.
        :raises AuthorityError: when the CA cannot say now, has too much to be looked through in one go (the next call
            then goes on where this one ended), or may have more than it shows and what is meant was not found.
        """
