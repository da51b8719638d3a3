"""The two clients a benchmark compares: a device enrolling over EST, and an agent enrolling straight at Dogtag."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from statistics import median
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.serialization import Encoding

from tests.support import pki

Enroll = Callable[[http.client.HTTPSConnection, bytes], bytes]
"""Sends one CSR (DER) over a connection, returns the last answer's body, raises when no certificate comes back."""


def csrs(number: int) -> list[bytes]:
    """Make CSRs in advance, each with a key of its own: making keys is not what is measured."""
    made = (pki.csr(pki.ec_key(), f"CN=bench-{index}.kipuka.test") for index in range(number))
    return [each.public_bytes(Encoding.DER) for each in made]


def connector(url: str, trust: Path, certificate: Path, key: Path) -> Callable[[], http.client.HTTPSConnection]:
    """Return what opens a TLS connection with a client certificate."""
    context = ssl.create_default_context(cafile=trust)
    context.load_cert_chain(certificate, key)
    parts = urlsplit(url)
    return lambda: http.client.HTTPSConnection(parts.hostname or "", parts.port, context=context, timeout=120)


def over_est(label: str = "") -> Enroll:
    """Enroll at kipuka."""
    path = f"/.well-known/est/{label}{'/' if label else ''}simpleenroll"

    def enroll(connection: http.client.HTTPSConnection, csr: bytes) -> bytes:
        connection.request("POST", path, base64.b64encode(csr), {"Content-Type": "application/pkcs10"})
        return body_of(connection)

    return enroll


def at_dogtag(profile: str) -> Enroll:
    """Enroll at Dogtag the way kipuka does: submit, then fetch the certificate."""

    def enroll(connection: http.client.HTTPSConnection, csr: bytes) -> bytes:
        inputs = [{"name": "cert_request_type", "Value": "pkcs10"}, {"name": "cert_request", "Value": _text(csr)}]
        body = json.dumps({"ProfileID": profile, "Renewal": False, "Input": [{"id": "i1", "Attribute": inputs}]})
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        connection.request("POST", "/ca/rest/certrequests", body, headers)
        certificate = json.loads(body_of(connection))["entries"][0]["certId"]
        connection.request("GET", f"/ca/rest/certs/{certificate}", headers={"Accept": "application/json"})
        return body_of(connection)

    return enroll


def rate(connect: Callable[[], http.client.HTTPSConnection], enroll: Enroll, csr: list[bytes], parallel: int) -> float:
    """Enrollments a second, with so many kept-alive connections at work."""
    work: Queue[bytes] = Queue()
    for each in csr:
        work.put(each)

    def client() -> None:
        connection = connect()
        while not work.empty():
            enroll(connection, work.get())
        connection.close()

    started = time.perf_counter()
    with ThreadPoolExecutor(parallel) as pool:
        for done in [pool.submit(client) for _ in range(parallel)]:
            done.result()
    return len(csr) / (time.perf_counter() - started)


def latency(connect: Callable[[], http.client.HTTPSConnection], enroll: Enroll, csr: list[bytes]) -> float:
    """Median milliseconds of one enrollment on one kept-alive connection."""
    connection = connect()
    enroll(connection, csr[0])
    spent = []
    for each in csr[1:]:
        started = time.perf_counter()
        enroll(connection, each)
        spent.append(time.perf_counter() - started)
    connection.close()
    return median(spent) * 1000


def _text(der: bytes) -> str:
    return base64.b64encode(der).decode()


def body_of(connection: http.client.HTTPSConnection) -> bytes:
    """Read an answer; RuntimeError when it is not 200."""
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{answer.status}: {body[:200]!r}")
    return body
