"""The lab's Dogtag as the harness sees it, past kipuka and past the proxies: as agent, over its REST interface."""

from __future__ import annotations

import http.client
import json
import re
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

from cryptography import x509

from tests.dogtag import lab_export
from tests.dogtag.lab_export import Lab

_TIMEOUT = 20
_PAGE = 200
_READINGS = 60
_MOST_PENDING = 100_000
# Seconds. 389-ds tries less and less often to reach one that was away, in the end every five minutes.
_REPLICATED = 400.0

CA = TypeVar("CA")
T = TypeVar("T")


def lab() -> Lab:
    """Return the lab that was brought up on this machine.

    :raises SystemExit: there is none.
    """
    try:
        return lab_export.read()
    except LookupError as missing:
        raise SystemExit(f"{missing}. Bring it up: tests/dogtag/lab/lab up (as root).") from None


class RefusedError(Exception):
    """Dogtag answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text[:200]}")
        self.status = status


class Dogtag:
    """One agent's session. Not for several threads. Calls raise OSError, HTTPException or :class:`RefusedError`.

    :param url: where, if not at the lab's first CA.
    """

    def __init__(self, lab: Lab, url: str | None = None) -> None:
        address = urlsplit(url or lab.url)
        self.address = (address.hostname or "", address.port or 443)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(lab.ca_chain)
        context.load_cert_chain(lab.agent.certificate, lab.agent.key)
        self._context = context
        self._connection: http.client.HTTPSConnection | None = None
        self._cookie: str | None = None

    def pending(self) -> list[int]:
        """Return the ids of all requests that wait for an agent. Without maxResults Dogtag stops silently at 100."""
        path = f"/ca/rest/agent/certrequests?requestState=pending&maxResults={_MOST_PENDING}"
        return [int(each["requestURL"].rpartition("/")[2]) for each in self._call("GET", path)["entries"]]

    def review(self, request: int) -> dict[str, Any]:
        """Return the request's document, with the nonce that a decision needs."""
        document: dict[str, Any] = self._call("GET", f"/ca/rest/agent/certrequests/{request}")
        return document

    def decide(self, document: dict[str, Any], decision: str) -> None:
        """Approve, reject or cancel a reviewed request."""
        self._call("POST", f"/ca/rest/agent/certrequests/{document['requestId']}/{decision}", document)

    def cancel_all(self) -> None:
        """Cancel every request that waits: an earlier run left it, and each process of kipuka would look through it."""
        for request in self.pending():
            try:
                self.decide(self.review(request), "cancel")
            except RefusedError:  # its profile was deleted: it can be neither shown nor decided
                continue

    def certificates(self, name: str) -> list[x509.Certificate]:
        """Return every certificate whose common name contains that text.

        What arrives from a clone meanwhile shifts Dogtag's pages, so it counts when it was found twice running.

        :raises RuntimeError: it goes on changing.
        """
        before: list[str] | None = None
        for _ in range(_READINGS):
            serials = self._serials(name)
            if serials == before and len(set(serials)) == len(serials):
                return [self.certificate(each) for each in serials]
            before = serials
            time.sleep(0.5)
        raise RuntimeError("What Dogtag finds goes on changing: are certificates being issued?")

    def _serials(self, name: str) -> list[str]:
        serials: list[str] = []
        wanted = {"subjectInUse": True, "commonName": name, "matchExactly": False}
        while True:
            page = self._call("POST", f"/ca/rest/certs/search?start={len(serials)}&size={_PAGE}", wanted)["entries"]
            if not page:
                return serials
            serials += [each["id"] for each in page]

    def certificate(self, serial: str) -> x509.Certificate:
        """Return one certificate; the serial number is hex with 0x."""
        return x509.load_pem_x509_certificate(self._call("GET", f"/ca/rest/certs/{serial}")["Encoded"].encode())

    def standing(self, serial: int) -> tuple[str, int | None]:
        """Return the status of a certificate and the number of the reason of its revocation."""
        shown = self._call("GET", f"/ca/rest/certs/0x{serial:x}")
        return shown["Status"], shown["RevocationReason"]

    def crl(self) -> x509.CertificateRevocationList:
        """Have the CRL made anew, and return it. Only the first CA of clones makes it."""
        point = "crlIssuingPoint=MasterCRL"
        made = self._exchange("GET", f"/ca/agent/ca/updateCRL?{point}&waitForUpdate=true&xml=true")
        if b"<time>" not in made:  # what was refused is HTTP 200 too
            raise RefusedError(200, made.decode(errors="replace"))
        return x509.load_der_x509_crl(self._exchange("GET", f"/ca/ee/ca/getCRL?op=getCRL&{point}"))

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()

    def _call(self, method: str, path: str, body: object = None) -> Any:
        data = self._exchange(method, path, body)
        return json.loads(data) if data else None

    def _exchange(self, method: str, path: str, body: object = None) -> bytes:
        headers = {"Accept": "application/json"}
        if self._cookie is not None:
            headers["Cookie"] = self._cookie
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection = self._connection or http.client.HTTPSConnection(
            *self.address, timeout=_TIMEOUT, context=self._context
        )
        self._connection = None  # kept only when the answer was read to its end
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            data = answer.read()
        except BaseException:
            connection.close()
            raise
        self._connection = connection  # http.client opens it again when Dogtag has said "Connection: close"
        if session := re.match(r"JSESSIONID=[^;]+", answer.headers.get("Set-Cookie", "")):
            self._cookie = session[0]
        if answer.status not in {200, 204}:
            raise RefusedError(answer.status, data.decode(errors="replace"))
        return data


def agreed(cas: Sequence[CA], ask: Callable[[CA], T], *, seconds: float = _REPLICATED, interval: float = 1.0) -> T:
    """Return what all of these CAs answer alike, as soon as replication has got that far.

    :raises RuntimeError: they did not come to agree.
    """
    deadline = time.monotonic() + seconds
    while True:
        trouble = "their answers differ"
        try:
            first, *others = (ask(each) for each in cas)
            if all(each == first for each in others):
                return first
        except (OSError, http.client.HTTPException, RefusedError) as failure:
            trouble = repr(failure)
        if time.monotonic() > deadline:
            raise RuntimeError(f"the CA and its clone do not come to agree: {trouble}")
        time.sleep(interval)
