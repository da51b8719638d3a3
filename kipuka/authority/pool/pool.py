"""Several clones of one CA as one authority."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509
from twisted.logger import Logger

from kipuka.authority.interface import CertificateStatus, EnrollmentRequest, Outcome
from kipuka.authority.pool.choice import Choice
from kipuka.authority.pool.instance import Instance
from kipuka.authority.pool.member import Member
from kipuka.errors import AuthorityError, Kind

_log = Logger("kipuka.pool")


class Pool:
    """Sends each request to one of its members.

    That a request goes on to the next when it certainly did not reach the first is the business of the ledger, which
    must know where it goes before it goes there.

    :param id: the group's name.
    :param members: in the order of the configuration.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - the interface's word
        members: Sequence[Member],
        choice: Choice,
    ) -> None:
        self._id = id
        self._members = {each.id: each for each in members}
        self._choice = choice

    @property
    def id(self) -> str:
        """The ``[[ha.group]] name``."""
        return self._id

    @property
    def members(self) -> tuple[Member, ...]:
        """The CAs, in the order of the configuration."""
        return tuple(self._members.values())

    def instance(self, ca_id: str) -> Instance:
        """One of the CAs, with the others as its clones."""
        clones = [each for each in self.members if each.id != ca_id]
        return Instance(self._members[ca_id], clones)

    def choose(self, avoid: frozenset[str]) -> str:
        """Choose the CA for the next request. One that is just coming back is taken only if there is no other.

        :raises AuthorityError: UNREACHABLE: all are away; BUSY: those that are not have too much to do. Nothing is sent
            and nothing is waited for.
        """
        rest = [each for each in self.members if each.id not in avoid]
        usable = [each for each in rest if each.is_used] or [each for each in rest if each.may_be_tried]
        if not usable:
            raise AuthorityError(
                Kind.UNREACHABLE,
                "No CA can take requests at the moment: try again later.",
                f"group {self.id}: "
                + (", ".join(f"{e.id} {e.vitals.circuit.value}" for e in rest) or "all were tried"),
            )
        open_doors = [each for each in usable if not each.is_full]
        if not open_doors:
            raise AuthorityError(
                Kind.BUSY, "The CA has as many requests in hand as it takes: try again later.", f"group {self.id}"
            )
        return self._choice.pick([each.candidate() for each in open_doors])

    async def enroll(self, request: EnrollmentRequest) -> Outcome:
        """Ask the CA the request names, or one that is chosen here.

        :raises AuthorityError: that CA's word, or trouble.
        """
        instance = self.choose(frozenset()) if request.instance is None else request.instance
        return await self._members[instance].enroll(request)

    async def chain(self) -> tuple[x509.Certificate, ...]:
        """Return the CA certificate and what leads to its root, from whoever has it; it is the same everywhere.

        :raises AuthorityError: no member has ever been reached.
        """
        trouble: AuthorityError | None = None
        for member in self._likeliest():
            try:
                return await member.authority.chain()
            except AuthorityError as error:
                trouble = trouble or error
        raise trouble or self._nobody()

    async def status(self, certificate: x509.Certificate) -> CertificateStatus:
        """Ask whether the certificate is still good, whichever member issued it.

        A member that does not know it may only not have heard of it yet, so it is unknown only when all say so: the
        one that issued it may have gone before it was replicated.

        :raises AuthorityError: no member can say now, or one that might know it cannot.
        """
        trouble: AuthorityError | None = None
        unknown = 0
        for member in self._likeliest():
            if not (member.is_used or member.may_be_tried):
                break
            try:
                status = await self._status(member, certificate)
            except AuthorityError as error:
                trouble = trouble or error
                continue
            if status is not CertificateStatus.UNKNOWN:
                return status
            unknown += 1
        if unknown == len(self._members):
            return CertificateStatus.UNKNOWN
        if unknown:
            raise AuthorityError(
                Kind.UNREACHABLE,
                "A CA that may know the client certificate is away: try again later.",
                f"group {self.id}: unknown to those that answer; another says: {trouble or 'not asked, it is away'}",
            )
        raise trouble or self._nobody()

    @staticmethod
    async def _status(member: Member, certificate: x509.Certificate) -> CertificateStatus:
        return await member.vitals.count(lambda: member.authority.status(certificate))

    async def close(self) -> None:
        """Close the members' connections."""
        for member in self.members:
            await member.authority.close()

    def _likeliest(self) -> list[Member]:
        """All members, those that work first."""
        return sorted(self.members, key=lambda each: (not each.is_used, not each.may_be_tried))

    def _nobody(self) -> AuthorityError:
        return AuthorityError(
            Kind.UNREACHABLE,
            "No CA can take requests at the moment: try again later.",
            f"group {self.id}: all are away",
        )
