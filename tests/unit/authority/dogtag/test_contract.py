"""The contract of tests/support/dogtag/contract.py, kept by the recording of a real Dogtag and by the stand-in."""

from __future__ import annotations

import base64
import json
import re

import pytest
from cryptography import x509
from treq.testing import RequestTraversalAgent
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase
from twisted.web.http import Request
from twisted.web.resource import Resource

from kipuka.authority.dogtag import DogtagAuthority
from kipuka.authority.dogtag.rest.client import Client
from kipuka.authority.dogtag.wire import Answer
from tests.support import pki
from tests.support.dogtag import transcript
from tests.support.dogtag.contract import DogtagContract
from tests.support.dogtag.standin import URL, StandIn, now, send

RECORDED = transcript.read("10.10.2/contract.txt")


def sent_csr(body: bytes) -> x509.CertificateSigningRequest:
    values = {each["name"]: each["Value"] for group in json.loads(body)["Input"] for each in group["Attribute"]}
    return x509.load_der_x509_csr(base64.b64decode(values["cert_request"]))


class StandInKeepsTheContract(DogtagContract, TestCase):
    def setUp(self) -> None:
        self.dogtag = StandIn()

    def authority(self, credential: str = "agent") -> DogtagAuthority:
        return self.dogtag.authority(credential)


class Replay(Resource):
    """Answers what the recorded server answered to the same request with the same credential; 599 to any other."""

    isLeaf = True  # noqa: N815 - Twisted's

    def __init__(self, credential: str) -> None:
        super().__init__()
        self._credential = credential

    def render(self, request: Request) -> bytes:
        body = request.content.read()
        for each in RECORDED:
            asked = (each.credential, each.method, each.path)
            if asked == (self._credential, request.method.decode(), request.uri.decode()) and _same(each.body, body):
                return send(request, each.answer)
        return send(request, Answer(599, "text/plain", b"never asked of the real one: record the contract anew"))


class RecordingKeepsTheContract(DogtagContract, TestCase):
    def authority(self, credential: str = "agent") -> DogtagAuthority:
        clock = Clock()
        client = Client(URL, RequestTraversalAgent(Replay(credential)), clock)
        return DogtagAuthority("dogtag", client, "kipukaServer", clock=clock)

    def csr(self, name: str) -> x509.CertificateSigningRequest:
        """The very CSR that was sent when the contract was recorded."""
        for each in RECORDED:
            if each.method == "POST" and each.comment == self._testMethodName:
                return sent_csr(each.body)
        return super().csr(name)  # this one was never sent


@pytest.mark.parametrize("each", RECORDED, ids=lambda each: f"{each.comment}-{each.method}")
def test_the_stand_in_answers_in_the_recorded_shape(each: transcript.Exchange) -> None:
    dogtag = StandIn()
    client = Client(URL, dogtag.agent(each.credential), dogtag.clock)
    path = each.path
    if "/certs/" in path and each.answer.status == 200:  # whatever was recorded, the stand-in has its CA's certificate
        path = f"/ca/rest/certs/{dogtag.issuer.certificate.serial_number:#x}"
    if re.fullmatch(r"/ca/rest/certrequests/\d+", path):
        dogtag._entry("pending", pki.csr(pki.ec_key(), "CN=device"))
        path = f"/ca/rest/certrequests/{next(iter(dogtag.requests))}"
    answer = now(client.get(path) if each.method == "GET" else client.post(path, each.body))
    assert (answer.status, answer.content_type) == (each.answer.status, each.answer.content_type)
    assert shape(json.loads(answer.body)) == shape(json.loads(each.answer.body))


def shape(value: object, member: str = "") -> object:
    """The members and their types; of the words that decide an outcome also the value."""
    if member in ("PrettyPrint", "Link", "ClassID", "Name"):
        return None  # of no matter to kipuka
    if isinstance(value, dict):
        return {name: shape(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value]
    decisive = ("requestStatus", "operationResult", "errorMessage", "Message", "ClassName", "Code", "name", "ProfileID")
    return value if member in decisive else type(value)


def _same(recorded: bytes, sent: bytes) -> bool:
    return recorded == sent or (bool(recorded) and bool(sent) and json.loads(recorded) == json.loads(sent))
