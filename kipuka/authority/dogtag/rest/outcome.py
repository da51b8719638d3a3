"""What an answer of Dogtag means: a value, or the AuthorityError that the request ends with. Pure.

The status code alone says little. A refusal by policy is a 200 with "rejected" and operationResult "success"; a CSR
that Dogtag cannot read is a 500; an agent certificate it does not take is a 401 in JSON or in Tomcat's HTML, and so is
anything that needs a user while its LDAP server is down; a CA that failed its self test is a 404 page.
"""

from __future__ import annotations

from kipuka.authority.dogtag.wire import Answer, RequestInfo, message, submitted
from kipuka.authority.interface import Pending
from kipuka.errors import AuthorityError, Kind

_TEXTS = {
    Kind.INVALID: (
        "The CA cannot use the certificate request: check its encoding, signature, key type and subject, "
        "and make a new one."
    ),
    Kind.MISCONFIGURED: (
        "The CA does not accept requests from this server: tell the administrator, who finds why in the log."
    ),
    Kind.BAD_ANSWER: (
        "The CA failed while handling the request: try again later and, if it stays so, tell the administrator."
    ),
    Kind.UNREACHABLE: "The CA cannot be reached: try again later.",
    Kind.NO_ANSWER: "The CA did not answer: try again later.",
    Kind.BUSY: "The CA has as many requests in hand as it takes: try again later.",
}
_NOT_READY = b"not ready to serve"
_WORKING = {"pending", "approved", "svc_pending"}
_LDAP_HINT = "; Dogtag says the same of every user while its LDAP server is down"


def error(kind: Kind, cause: str) -> AuthorityError:
    """Return an error of the kind with its standing text for the client."""
    return AuthorityError(kind, _TEXTS[kind], cause)


def no_such_path(answer: Answer) -> bool:
    """Tell whether nothing at the server listens at this path; a thing that is not there is a 404 in JSON."""
    return answer.status in (404, 405) and not answer.is_json


def stumbled(answer: Answer) -> bool:
    """Tell whether Dogtag fell over what it was asked for; trouble with LDAP looks different."""
    return answer.status == 500 and not answer.is_json and b"NullPointerException" in answer.body


def no_such_certificate(answer: Answer) -> bool:
    """Tell whether Dogtag has looked for a certificate and has none; with LDAP down it says something else."""
    return answer.status == 404 and answer.is_json and b"CertNotFoundException" in answer.body


def no_such_request(answer: Answer) -> bool:
    """Tell whether Dogtag found no request of a number; 10.x says so too while its LDAP server is down."""
    return answer.status == 404 and answer.is_json and b"RequestNotFoundException" in answer.body


def submission(answer: Answer) -> int | Pending:
    """Read the answer to an enrollment: the id of the issued certificate, or that it waits for an agent.

    :raises AuthorityError: every other outcome. After BAD_ANSWER and NO_ANSWER the CA may have issued all the same.
    """
    if answer.status != 200:
        raise _not_accepted(answer)
    info = submitted(answer)
    if info.status == "complete":
        return _issued(info)
    if info.status in ("rejected", "canceled"):
        raise _refused(info)
    if info.status not in _WORKING or info.error or not info.succeeded or info.request_id is None:
        # "pending" beside an error message is no waiting: the server broke and may not even have stored the request.
        raise error(Kind.BAD_ANSWER, f"request {info.request_id}: {info.status}, {info.error or 'no message'}")
    return Pending(str(info.request_id))


def _issued(info: RequestInfo) -> int:
    if info.certificate_id is None:
        raise error(Kind.BAD_ANSWER, f"request {info.request_id}: complete without a certificate, {info.error}")
    return info.certificate_id


def _refused(info: RequestInfo) -> AuthorityError:
    reason = info.error or info.status
    return AuthorityError(
        Kind.REFUSED,
        f"The CA refused the request ({reason}): change it to what the certificate profile takes.",
        f"request {info.request_id}: {info.status}, {reason}",
    )


def _not_accepted(answer: Answer) -> AuthorityError:
    text = message(answer)
    if answer.status == 400 and answer.is_json:
        if "Profile" in text and text.endswith(("Not Found", "not enabled")):
            return error(Kind.MISCONFIGURED, text)
        return error(Kind.INVALID, text)
    if answer.status == 503 and _NOT_READY not in answer.body:
        # Not Dogtag's own: a proxy in front says it of a connection that broke after the request went through, too.
        return error(Kind.NO_ANSWER, f"HTTP 503: {text or 'no body'}")
    if answer.status == 500 and answer.is_json:
        if text.endswith(("Invalid Request", "Subject Name Not Found")):
            return error(Kind.INVALID, text)
        if "Unable to load authenticator" in text:
            return error(Kind.MISCONFIGURED, text)
    return failure(answer)


def no_template(answer: Answer) -> AuthorityError:
    """Say why the form of a profile was not to be had."""
    return error(Kind.MISCONFIGURED, message(answer)) if answer.status == 400 and answer.is_json else failure(answer)


def failure(answer: Answer) -> AuthorityError:
    """Say what an answer means that no operation expects."""
    said = f"HTTP {answer.status}: {message(answer) or 'no body'}"
    if answer.status in (401, 403):
        return error(Kind.MISCONFIGURED, f"agent certificate not accepted: {said}{_LDAP_HINT}")
    if no_such_path(answer):
        return error(Kind.UNREACHABLE, f"{said}; wrong url, or the CA did not start in its Tomcat")
    if answer.status == 503 or _NOT_READY in answer.body:
        return error(Kind.UNREACHABLE, said)
    if answer.status in (502, 504):  # a proxy lost Dogtag after passing the request on
        return error(Kind.NO_ANSWER, said)
    if 300 <= answer.status < 400 or answer.status in (406, 409, 410, 415):
        return error(Kind.MISCONFIGURED, said)
    return error(Kind.BAD_ANSWER, said)
