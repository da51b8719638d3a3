"""Asking one Dogtag CA everything that an administrator would: the calls; what their answers mean is elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509

from kipuka.authority.dogtag import DogtagAuthority, wire
from kipuka.authority.dogtag.lookup import common_name
from kipuka.authority.dogtag.rest.client import Client
from kipuka.authority.dogtag.rest.paths import Paths
from kipuka.cli.doctor import answers
from kipuka.cli.doctor.checks import handshake, kra, profiles, trial
from kipuka.cli.doctor.checks.tls import certificates, fingerprints, validity
from kipuka.cli.doctor.findings import Finding, Level, Report, fault, warning
from kipuka.config import material
from kipuka.config.certificates import leads_to, name_of
from kipuka.config.model import DogtagCa, Label
from kipuka.config.secret import Secret
from kipuka.errors import AuthorityError, Kind
from kipuka.tls.client import ClientPolicy

Certificates = tuple[x509.Certificate, ...]

_APIS = ("/ca/rest", "/ca/v1", "/ca/v2")


@dataclass(frozen=True)
class Wanted:
    """A profile that kipuka will ask a CA for.

    :param subject: the words a finding about it begins with.
    :param label: None for paths without a label.
    """

    subject: str
    profile: str
    label: Label | None


@dataclass(frozen=True)
class Circumstances:
    """What the checks of all CAs share.

    :param now: the local clock.
    :param ask: asks a person for a passphrase; None when nobody is there.
    :param anchors: the CAs whose certificates devices may show.
    :param administrators: the CAs whose certificates make administrators, whatever their subject.
    :param enroll: whether to ask for certificates.
    """

    reactor: Any
    report: Report
    now: Callable[[], datetime]
    ask: Callable[[str], str] | None
    anchors: Sequence[x509.Certificate] = ()
    enroll: bool = False
    administrators: Collection[x509.Certificate] = ()


async def examine(ca: DogtagCa, wanted: Sequence[Wanted], around: Circumstances) -> Certificates:
    """Check one CA; takes little longer than its ``timeout`` when it hangs, for the first silence ends it.

    :returns: the CA's certificate and what leads to its root; empty when it could not be asked.
    """
    return await Examination(ca, around).run(wanted)


class Examination:
    """One CA under examination; what is learnt on the way decides what later answers mean."""

    def __init__(self, ca: DogtagCa, around: Circumstances) -> None:
        self.ca = ca
        self.around = around
        self.subject = f"ca {ca.id}"
        self.base = _APIS[0]
        self.version = ""
        self.has_directory = False
        self.roles: frozenset[str] | None = None

    async def run(self, wanted: Sequence[Wanted]) -> Certificates:
        """Reach the CA, then ask it; see :func:`examine`."""
        trust = certificates(self.ca.ca_cert)
        if not await self._reached(self.ca.url, trust):
            return ()
        client = self._client(self.ca.url, trust, self._agent())
        try:
            return await self.ask(client, trust, wanted)
        except AuthorityError as trouble:
            self._tell(_trouble(self.subject, trouble))
            return ()
        finally:
            await client.close()

    def _tell(self, *findings: Finding) -> None:
        for each in findings:
            self.around.report(each)

    async def _reached(self, url: str, trust: Certificates) -> bool:
        seen = await handshake.look(self.around.reactor, url, trust, self.ca.timeout)
        findings = list(handshake.judge(self.subject, url, seen, self.around.now()))
        self._tell(*findings)
        return all(each.level is not Level.FAULT for each in findings)

    def _agent(self) -> tuple[Certificates, material.PrivateKey | None]:
        chain = certificates(self.ca.agent_cert)
        if chain:
            remedy = "renew it: docs/dogtag.md, section 3"
            self._tell(validity(self.subject, "the agent certificate", chain[0], self.around.now(), remedy))
        return chain, self._agent_key()

    def _agent_key(self) -> material.PrivateKey | None:
        return _key(self.ca.agent_key, self.ca.agent_key_passphrase, "agent_key_passphrase", self.around.ask)

    def _client(
        self, url: str, trust: Certificates, account: tuple[Certificates, material.PrivateKey | None]
    ) -> Client:
        chain, key = account
        try:
            policy = ClientPolicy(trust, chain, key)
        except ValueError:  # the configuration's findings have said why
            text = "there is no agent certificate to show, or not its key: only what is open to everybody is looked at"
            self._tell(warning(self.subject, text, "put agent_cert and agent_key right"))
            policy = ClientPolicy(trust)
        return Client.open(self.around.reactor, url, policy, timeout=self.ca.timeout, max_connections=2)

    async def ask(self, client: Client, trust: Certificates, wanted: Sequence[Wanted]) -> Certificates:
        """Ask a CA that was reached.

        :raises AuthorityError: it stopped answering.
        """
        subject = self.subject
        about = await client.get("/pki/rest/info")
        self._tell(answers.clock(subject, about.date, self.around.now()))
        found = [each for each in _APIS if (await client.get(f"{each}/info")).status == 200]
        self._tell(*answers.version(subject, about, found))
        if not found:
            return ()
        self.base = found[0]
        self.version = answers.version_of(about)
        authority = DogtagAuthority(
            self.ca.id, client, self.ca.profile, clock=self.around.reactor, paths=Paths(self.ca.paths)
        )
        chain = await authority.chain()
        self._tell(answers.ca_certificate(subject, chain, trust), fingerprints(subject, chain))
        self._tell(*self._renewal(chain), *self._administrators(chain))
        await self._directory(client, chain[0])
        login = await client.get(f"{self.base}/account/login")
        self.roles = answers.roles_of(login)
        self._tell(answers.agent(subject, login, has_directory=self.has_directory))
        self._tell(answers.cmc(subject, await client.get("/ca/ee/ca/profileSubmitCMCFull")))
        if self.ca.kra_url is not None:
            await self._kra(client, trust)
        for each in wanted:
            await self._profile(client, authority, each)
        return chain

    async def _directory(self, client: Client, own: x509.Certificate) -> None:
        """Have the CA find its own certificate in its directory, by number and by name."""
        record = await client.get(f"{self.base}/certs/{own.serial_number:#x}")
        finding = answers.directory(self.subject, record, own)
        self.has_directory = finding.level is not Level.FAULT
        self._tell(finding)
        name = common_name(own.subject.rfc4514_string())
        if record.status == 200 and name:
            query = wire.search_body(0, name)
            self._tell(answers.search(self.subject, await client.post(f"{self.base}/certs/search?size=1", query), name))

    def _renewal(self, chain: Certificates) -> Iterable[Finding]:
        if self.around.anchors and not set(chain) & set(self.around.anchors):
            text = f"{name_of(chain[0].subject)} is not in tls.client_auth.trust_anchors: its devices cannot renew"
            yield warning(self.subject, text, "add its certificate there")

    def _administrators(self, chain: Certificates) -> Iterable[Finding]:
        if leads_to(chain, self.around.administrators):
            text = f"{name_of(chain[0].subject)} is below admin.trust_anchors: its devices are administrators"
            yield fault(self.subject, text, "name the administrators in admin.subjects, or take another CA for them")

    async def _profile(self, client: Client, authority: DogtagAuthority, wanted: Wanted) -> None:
        subject, label = wanted.subject, wanted.label
        raw = await client.get(f"{self.base}/profiles/{wanted.profile}/raw")
        found = profiles.read(subject, wanted.profile, raw, self.roles)
        profile = found if isinstance(found, profiles.Profile) else None
        if profile is not None:
            self._tell(*profile.findings(subject, self.roles))
            if label is not None:
                self._tell(*profile.fits(subject, label))
        elif isinstance(found, Finding):
            self._tell(found)
        else:
            form = await client.get(f"{self.base}/certrequests/profiles/{wanted.profile}")
            self._tell(profiles.from_form(subject, wanted.profile, form))
        if label is not None:
            self._tell(*profiles.challenge(subject, self.version, label))
        if self.around.enroll and self.roles is not None and self._is_worth_a_try(found):
            agent = trial.Agent(client, self.base)
            self._tell(*await trial.enroll(subject, wanted.profile, profile, authority, agent))

    @staticmethod
    def _is_worth_a_try(found: profiles.Profile | Finding | None) -> bool:
        """A profile that cannot be seen may work; one that is missing or disabled does not."""
        return found is None or (isinstance(found, profiles.Profile) and found.enabled)

    async def _kra(self, client: Client, trust: Certificates) -> None:
        ca = self.ca
        subject = f"{self.subject} kra"
        self._tell(answers.connector(subject, await client.get(f"{self.base}/info"), needed=ca.serverkeygen != "kra"))
        if ca.kra_url is None:
            return
        if ca.kra_url != ca.url and not await self._reached(ca.kra_url, trust):
            return
        chain = certificates(ca.kra_agent_cert or ca.agent_cert)
        key = (
            self._agent_key()
            if ca.kra_agent_key is None
            else _key(ca.kra_agent_key, ca.kra_agent_key_passphrase, "kra_agent_key_passphrase", self.around.ask)
        )
        theirs = self._client(ca.kra_url, trust, (chain, key))
        try:
            self._tell(*await kra.ask(subject, theirs.get, self.around.now(), has_directory=self.has_directory))
        except AuthorityError as trouble:
            self._tell(_trouble(subject, trouble))
        finally:
            await theirs.close()


def _key(
    path: Path, passphrase: Secret | None, setting: str, ask: Callable[[str], str] | None
) -> material.PrivateKey | None:
    try:
        return material.private_key(path, passphrase, ask, setting=setting)
    except material.MaterialError:
        return None


def _trouble(subject: str, trouble: AuthorityError) -> Finding:
    if trouble.kind in (Kind.NO_ANSWER, Kind.BUSY):
        text = f"it was reached, and then did not answer: {trouble.cause}"
        return fault(subject, text, "look at Dogtag's load and its debug log; raise timeout if it is only slow")
    if "alert" in trouble.cause or "SSL" in trouble.cause:
        text = f"the TLS connection broke when the agent certificate was shown: {trouble.cause}"
        return fault(subject, text, "renew the agent certificate, or have the CA's TLS settings accept it")
    return fault(subject, f"it was reached, and then failed: {trouble.cause}", "look at Dogtag's debug log")
