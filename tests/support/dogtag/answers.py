"""The shapes in which 10.10.2 answers, as recorded: what is in them is the stand-in's business."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from kipuka.authority.dogtag.wire import Answer

URL = "https://dogtag.example"
JSON = "application/json"
_HTML = "text/html;charset=utf-8"
HTML_401 = Answer(401, _HTML, b"<!doctype html><html><head><title>HTTP Status 401</title></head></html>")
HTML_404 = Answer(404, _HTML, b"<html><head><title>HTTP Status 404</title></head></html>")
NO_ROUTE = Answer(404, JSON, b'{"message":"no Route matched with those values"}')
"""Not Dogtag's: what a gateway in front of it may say."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def success(body: dict[str, Any]) -> Answer:
    """Anything that went well."""
    return Answer(200, JSON, json.dumps(body).encode())


def error(status: int, name: str, message: str, **attributes: str) -> Answer:
    """An error in Dogtag's own form, which not all errors have."""
    values = [{"name": each, "value": value} for each, value in attributes.items()]
    body = {
        "Attributes": {"Attribute": values},
        "ClassName": f"com.netscape.certsrv.{name}",
        "Code": status,
        "Message": message,
    }
    return Answer(status, JSON, json.dumps(body).encode())


def no_request(text: str) -> Answer:
    """There is no request of this number."""
    name = "request.RequestNotFoundException"
    return error(404, name, f"Request ID {int(text):#x} not found", requestId=text)


def no_ldap() -> Answer:
    """The directory server is away and the caller asked for a certificate."""
    return error(500, "base.PKIException", "Failed to connect LDAP server Unable to connect to LDAP server")


def stumbled() -> Answer:
    """What a review of a request is whose profile was deleted."""
    return Answer(500, _HTML, b"<html><title>HTTP Status 500</title><pre>java.lang.NullPointerException</pre></html>")


def listed(entries: Sequence[dict[str, Any]], total: int | None = None) -> Answer:
    """A list, or a page of one; kipuka does not look at the links."""
    return success({"total": len(entries) if total is None else total, "entries": entries, "Link": []})


def request(number: int, status: str, certificate: int | None = None, message: str | None = None) -> dict[str, Any]:
    """How a request stands."""
    return {
        "requestType": "enrollment",
        "requestStatus": status,
        "requestURL": f"{URL}/ca/rest/certrequests/{number}",
        "realm": None,
        "certId": None if certificate is None else f"{certificate:#x}",
        "certURL": None if certificate is None else f"{URL}/ca/rest/certs/{certificate}",
        "certRequestType": "pkcs10",
        "operationResult": "success",
        "errorMessage": message,
    }


def review(entry: dict[str, Any], csr: x509.CertificateSigningRequest, notes: str | None) -> dict[str, Any]:
    """A request as its agent sees it. The policies of the profile are left out, which are most of the real one."""
    written = {"requestNotes": notes} if notes else {}
    values = {
        "cert_request_type": "pkcs10",
        "cert_request": base64.b64encode(csr.public_bytes(Encoding.DER)).decode(),
    }
    attributes = [{"name": name, "Value": value, "Descriptor": None} for name, value in values.items()]
    return {
        "nonce": "4185969332831147249",
        "requestId": entry["requestURL"].rpartition("/")[2],
        "requestType": entry["requestType"],
        "requestStatus": entry["requestStatus"],
        "requestCreationTime": "Mon Nov 23 13:11:17 UTC 2026",
        "requestModificationTime": "Mon Nov 23 13:11:17 UTC 2026",
        **written,
        "Attributes": {"Attribute": []},
        "ProfileID": "kipukaServerManual",
        "Renewal": False,
        "Input": [
            {
                "id": None,
                "ClassID": "CertReqInput",
                "Name": "Certificate Request Input",
                "Text": None,
                "Attribute": attributes,
                "ConfigAttribute": [],
            }
        ],
        "ProfilePolicySet": [{"policies": []}],
    }


def template(name: str, inputs: Sequence[Sequence[str]], *, renewal: bool) -> dict[str, Any]:
    """The form of a profile."""
    groups = [
        {
            "id": f"i{number}",
            "ClassID": f"class{number}",
            "Name": f"Input {number}",
            "Text": None,
            "Attribute": [{"name": each, "Value": "", "Descriptor": _descriptor(each)} for each in names],
            "ConfigAttribute": [],
        }
        for number, names in enumerate(inputs, 1)
    ]
    return {"Attributes": {"Attribute": []}, "ProfileID": name, "Renewal": renewal, "Input": groups}


def certificate(value: x509.Certificate, issuer: x509.Certificate, *, revoked: bool) -> dict[str, Any]:
    """One certificate, with its line ends as 10.10.2 mixes them."""
    head, *lines, tail, _ = value.public_bytes(Encoding.PEM).decode().split("\n")
    bag = pkcs7.serialize_certificates([value, issuer], Encoding.DER)
    return {
        "id": f"{value.serial_number:#x}",
        "IssuerDN": value.issuer.rfc4514_string(),
        "SubjectDN": value.subject.rfc4514_string(),
        "PrettyPrint": None,
        "Encoded": head + "\n" + "\r\n".join(lines) + "\r\n" + tail + "\n",
        "PKCS7CertChain": base64.encodebytes(bag).decode().replace("\n", "\r\n"),
        "NotBefore": value.not_valid_before_utc.strftime("%a %b %d %H:%M:%S UTC %Y"),
        "NotAfter": value.not_valid_after_utc.strftime("%a %b %d %H:%M:%S UTC %Y"),
        "Status": "REVOKED" if revoked else "VALID",
        "RevokedOn": None,
        "RevokedBy": None,
        "RevocationReason": None,
        "Nonce": None,
        "Link": None,
    }


def summary(value: x509.Certificate, issued: datetime, *, revoked: bool) -> dict[str, Any]:
    """A certificate in a list. Times are milliseconds, as text."""
    key = value.public_key()
    is_rsa = isinstance(key, rsa.RSAPublicKey)
    return {
        "id": f"{value.serial_number:#x}",
        "SubjectDN": value.subject.rfc4514_string(),
        "IssuerDN": value.issuer.rfc4514_string(),
        "Status": "REVOKED" if revoked else "VALID",
        "Type": "X.509",
        "Version": 2,
        "KeyAlgorithmOID": "1.2.840.113549.1.1.1" if is_rsa else "1.2.840.10045.2.1",
        "KeyLength": key.key_size if isinstance(key, rsa.RSAPublicKey) else 0,
        "NotValidBefore": str(milliseconds(value.not_valid_before_utc)),
        "NotValidAfter": str(milliseconds(value.not_valid_after_utc)),
        "IssuedOn": str(milliseconds(issued)),
        "IssuedBy": "system",
        "RevokedOn": None,
        "RevokedBy": None,
        "Link": None,
    }


def milliseconds(moment: datetime) -> int:
    """Since 1970."""
    return int((moment - _EPOCH).total_seconds() * 1000)


def _descriptor(name: str) -> dict[str, Any]:
    return {"Syntax": "string", "Constraint": None, "Description": name, "DefaultValue": None}
