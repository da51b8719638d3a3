"""What Dogtag's answers mean to an administrator: an answer in, a finding out. No network."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from cryptography import x509

from kipuka.authority.dogtag import wire
from kipuka.authority.dogtag.rest.outcome import no_such_path
from kipuka.authority.dogtag.wire import Answer, message, printable
from kipuka.cli.doctor.findings import Finding, fault, ok, warning
from kipuka.config.certificates import name_of
from kipuka.errors import AuthorityError

CA_AGENTS = "Certificate Manager Agents"
REGISTRATION_AGENTS = "Registration Manager Agents"
KRA_AGENTS = "Data Recovery Manager Agents"

_CLOCK_WARNING, _CLOCK_FAULT = timedelta(seconds=60), timedelta(minutes=5)
_START_LDAP = "start Dogtag's LDAP server (systemctl start dirsrv@INSTANCE); Dogtag itself need not be restarted"


def version(subject: str, answer: Answer, flavours: Sequence[str]) -> Iterator[Finding]:
    """Judge ``/pki/rest/info`` and which of the APIs answered, named by their base paths."""
    served = f"; its API answers at {', '.join(flavours)}" if flavours else ""
    number = version_of(answer)
    if not number:
        text = f"a Dogtag that does not tell its version (HTTP {answer.status}){served}"
        yield warning(subject, text, "if a proxy stands in front, let it pass /pki/rest/info on")
    elif re.match(r"1[01]\.", number):
        yield ok(subject, f"Dogtag {number}{served}")
    else:
        text = f"Dogtag {number}{served}: kipuka is made for 10.x and 11.x"
        yield warning(subject, text, "try it with --enroll before relying on it")
    if not flavours:
        remedy = "correct url, or look into the CA's debug log: after a failed self test only Tomcat answers"
        yield fault(subject, "nothing answers at /ca/rest, /ca/v1 or /ca/v2: there is no CA behind this url", remedy)
    elif not {"/ca/rest", "/ca/v1"} & set(flavours):
        remedy = "restore the rewrite rule for /ca/rest in Dogtag's Tomcat, or set paths"
        yield fault(subject, "only version 2 of the API answers, and kipuka speaks version 1", remedy)


def version_of(answer: Answer) -> str:
    """Return the version; empty when it is not told."""
    number = _member(answer, "Version")
    return printable(number) if isinstance(number, str) else ""


def ca_certificate(subject: str, chain: Sequence[x509.Certificate], trusted: Sequence[x509.Certificate]) -> Finding:
    """Hold what the CA says it is against ``ca_cert``."""
    own = name_of(chain[0].subject)
    if any(each in trusted for each in chain):
        return ok(subject, f"the CA is {own}, and ca_cert vouches for it")
    if any(each.subject == chain[0].subject for each in trusted):
        text = f"ca_cert has a certificate with the name of this CA, {own}, but it is another one"
        return fault(
            subject, text, "fetch the CA's present certificate and compare fingerprints with its administrator"
        )
    text = f"the CA is {own}, which is not in ca_cert (it holds {', '.join(name_of(each.subject) for each in trusted)})"
    return warning(subject, text, "make sure that url leads to the CA you mean, and add its certificate to ca_cert")


def directory(subject: str, answer: Answer, certificate: x509.Certificate) -> Finding:
    """Judge the answer to a look-up of the CA's own certificate by its serial number, which needs LDAP."""
    if answer.status == 200:
        try:
            same = wire.certificate(answer).certificate == certificate
        except AuthorityError as error:
            return fault(subject, f"the CA's database gives a strange answer: {error.cause}", "look at its debug log")
        if same:
            return ok(subject, "its directory server works: the CA finds its own certificate")
        text = "the CA's database has another certificate under the CA's serial number"
        return warning(subject, text, "ask the CA's administrator whether its certificate was renewed by another CA")
    if answer.status == 404 and answer.is_json:
        text = "its directory server works, though the CA's own certificate (of another CA) is not in it"
        return ok(subject, text)
    said = _said(answer)
    if "LDAP" in said:
        return fault(subject, f"its directory server is down: {said}", _START_LDAP)
    return fault(subject, f"the CA cannot read its database: {said}", "look at Dogtag's debug log")


def search(subject: str, answer: Answer, name: str) -> Finding:
    """Judge the search for the CA's own certificate, which is there, by its common name.

    The LDAP server of a clone may lack the index that it takes, see docs/dogtag-notes.md.
    """
    try:
        found = answer.status == 200 and wire.found(answer)
    except AuthorityError as error:
        return fault(subject, f"the CA's search gives a strange answer: {error.cause}", "look at its debug log")
    if found:
        return ok(subject, "its certificates are found by their names")
    if answer.status != 200:
        return warning(subject, f"certificates cannot be searched: {_said(answer)}", "look at Dogtag's debug log")
    text = f"its directory finds no certificate by name, not even that of {name}: looking lost answers up takes longer"
    return warning(
        subject, text, "restart its LDAP server, then: dsconf INSTANCE backend index reindex --attr subjectname BACKEND"
    )


def clock(subject: str, date: str, now: datetime) -> Finding:
    """Hold the Date header of an answer against the local clock."""
    try:
        theirs = parsedate_to_datetime(date)
    except (ValueError, TypeError):
        return warning(subject, "the server does not tell its time", "compare the clocks by hand")
    if theirs.tzinfo is None:
        theirs = theirs.replace(tzinfo=UTC)
    skew = theirs - now
    seconds = abs(round(skew.total_seconds()))
    if seconds <= _CLOCK_WARNING.total_seconds():
        return ok(subject, "its clock and this machine's agree")
    text = f"its clock is {seconds} s {'ahead of' if skew > timedelta(0) else 'behind'} this machine's"
    remedy = "set both by NTP: certificates are refused as not valid yet, and lost answers are not found again"
    return (fault if seconds > _CLOCK_FAULT.total_seconds() else warning)(subject, text, remedy)


def agent(subject: str, answer: Answer, *, has_directory: bool) -> Finding:
    """Judge ``account/login`` with the agent certificate.

    :param has_directory: whether LDAP was found to work; without it Dogtag knows nobody.
    """
    roles = roles_of(answer)
    if roles is None:
        return _unknown(subject, answer, "CA", has_directory=has_directory)
    who = f'the agent certificate is that of the user "{printable(str(_member(answer, "id")))}"'
    if CA_AGENTS in roles:
        return ok(subject, f"{who}, in {_listed(roles)}")
    if REGISTRATION_AGENTS in roles:
        text = f'{who}, in {_listed(roles)} but not in "{CA_AGENTS}": it gets certificates from raCertAuth profiles '
        text += "only, and cannot look requests up, approve or revoke"
        return warning(subject, text, f'pki ca-group-member-add "{CA_AGENTS}" USER, unless that is meant')
    text = f"{who}, which is in no group of agents (in {_listed(roles)})"
    return fault(subject, text, f'pki ca-group-member-add "{CA_AGENTS}" USER (docs/dogtag.md, section 2)')


def roles_of(answer: Answer) -> frozenset[str] | None:
    """Return the groups of who logged in; None when nobody did. 10.x: ``{"Role": [...]}``, 11.x: a list."""
    if answer.status != 200:
        return None
    roles = _member(answer, "Roles")
    roles = roles.get("Role") if isinstance(roles, dict) else roles
    return frozenset(map(str, roles)) if isinstance(roles, list) else frozenset()


def cmc(subject: str, answer: Answer) -> Finding:
    """Say whether the servlet for Full CMC is there. It is asked without a body and answers with some error."""
    if answer.status == 404 or no_such_path(answer):
        text = "the path for Full CMC (/ca/ee/ca/profileSubmitCMCFull) is not there"
        return warning(subject, text, "nothing, unless Full CMC is wanted: then let a proxy pass /ca/ee on")
    return ok(subject, "the path for Full CMC answers")


def connector(subject: str, answer: Answer, *, needed: bool) -> Finding:
    """Judge ``/ca/rest/info``: it names an archival mechanism only when the CA has a connector to a KRA.

    :param needed: whether the CA itself has to talk to the KRA (``serverkeygen = "ca-profile"``).
    """
    if _member(answer, "ArchivalMechanism"):
        return ok(subject, "the CA has a connector to a KRA")
    text = "the CA has no connector to a KRA, or cannot reach it"
    if needed:
        return fault(subject, text, "set it up: pki-server kra-connector, or pkispawn the KRA in the CA's domain")
    return warning(subject, text, 'serverkeygen = "kra" works without; set it up for archival by profiles')


def transport(subject: str, answer: Answer, now: datetime) -> Finding:
    """Judge ``/kra/rest/config/cert/transport``."""
    try:
        certificate = wire.chain(answer)[0]
    except AuthorityError:
        text = f"the KRA gives no transport certificate: {_said(answer)}"
        return fault(subject, text, "correct kra_url, or look at the KRA's debug log")
    name = name_of(certificate.subject)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        text = f"the KRA's transport certificate {name} is not valid (until {certificate.not_valid_after_utc:%Y-%m-%d})"
        return fault(subject, text, "renew it at Dogtag")
    return ok(subject, f"the KRA's transport certificate is {name}, valid until {certificate.not_valid_after_utc:%F}")


def recovery(subject: str, answer: Answer, *, has_directory: bool) -> Finding:
    """Judge ``/kra/rest/agent/keys``: only who may recover keys gets a list."""
    if answer.status == 200:
        return ok(subject, "the agent may recover keys")
    if answer.status == 403:
        text = "the KRA knows the agent, who may not recover keys"
        return fault(subject, text, f'pki kra-group-member-add "{KRA_AGENTS}" USER')
    return _unknown(subject, answer, "KRA", has_directory=has_directory)


def _unknown(subject: str, answer: Answer, server: str, *, has_directory: bool) -> Finding:
    said = _said(answer)
    if answer.status == 401 and has_directory:
        text = f"the {server} does not know the agent certificate ({said})"
        remedy = (
            f"add it to a user: pki {server.lower()}-user-cert-add USER --input agent.pem (docs/dogtag.md, section 3)"
        )
        return fault(subject, text, remedy)
    if answer.status == 401:
        text = f"whether the {server} knows the agent certificate cannot be told while its directory server is down"
        return fault(subject, text, _START_LDAP)
    return fault(subject, f"the {server} does not let the agent in: {said}", "look at Dogtag's debug log")


def _listed(roles: frozenset[str]) -> str:
    return printable(", ".join(f'"{each}"' for each in sorted(roles))) or "none"


def _said(answer: Answer) -> str:
    return f"HTTP {answer.status}, {message(answer) or 'no body'}"


def _member(answer: Answer, name: str) -> object:
    if answer.status != 200 or not answer.is_json:
        return None
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return body.get(name) if isinstance(body, dict) else None
