"""The stand-in's lists and searches are held to what the real server was recorded to answer."""

from __future__ import annotations

import json

import pytest

from kipuka.authority.dogtag.rest.client import Client
from kipuka.authority.dogtag.wire import Answer
from tests.support import pki
from tests.support.dogtag import transcript
from tests.support.dogtag.standin import URL, StandIn, now

LIST = "/ca/rest/agent/certrequests"
RECORDED = [
    each
    for name in ("20-agent-list", "30-cert")
    for each in transcript.read(f"10.10.2/{name}.txt")
    if each.path.startswith((LIST, "/ca/rest/certs/search")) and not each.answer.body.startswith(b"<?xml")
]


def ask(dogtag: StandIn, path: str, body: bytes | None = None, credential: str = "agent") -> Answer:
    client = Client(URL, dogtag.agent(credential), dogtag.clock)
    return now(client.get(path) if body is None else client.post(path, body))


def numbers(answer: Answer) -> list[int]:
    return [int(each["requestURL"].rpartition("/")[2]) for each in json.loads(answer.body)["entries"]]


def dogtag_with_pending(number: int) -> StandIn:
    dogtag, csr = StandIn(), pki.csr(pki.ec_key(), "CN=device")
    for _ in range(number):
        dogtag._entry("pending", csr)
    return dogtag


def test_there_are_recordings() -> None:
    assert {each.method for each in RECORDED} == {"GET", "POST"}


@pytest.mark.parametrize("each", RECORDED, ids=lambda each: f"{each.credential} {each.path}")
def test_a_list_has_the_recorded_shape(each: transcript.Exchange) -> None:
    dogtag = dogtag_with_pending(3)
    dogtag.approve(16)
    path = each.path.replace("start=3", "start=16")
    body = each.body.replace(b'"serialTo": "3"', b'"serialTo": "20"') if each.method == "POST" else None
    answer = ask(dogtag, path, body, each.credential)
    assert (answer.status, answer.content_type) == (each.answer.status, each.answer.content_type)
    if not answer.is_json:
        return
    shown, recorded = json.loads(answer.body), json.loads(each.answer.body)
    assert shown.keys() == recorded.keys()
    assert bool(shown.get("entries")) == bool(recorded.get("entries"))
    for entry in shown.get("entries", []):
        for name, value in entry.items():
            assert value is None or type(value) in {type(other[name]) for other in recorded["entries"]}
        assert entry.keys() == recorded["entries"][0].keys()


def test_the_pending_list_is_cut_off_after_100_without_a_word_unless_more_is_asked_for() -> None:
    dogtag = dogtag_with_pending(165)
    short = ask(dogtag, f"{LIST}?requestState=pending")
    assert numbers(short) == list(range(16, 116))
    assert json.loads(short.body)["total"] == 100
    assert len(numbers(ask(dogtag, f"{LIST}?requestState=pending&maxResults=1000&start=50&pageSize=2"))) == 165


def test_a_search_finds_by_name_and_time_of_issue() -> None:
    dogtag = dogtag_with_pending(1)
    dogtag.approve(16)
    (serial,) = (number for number in dogtag.issued if number != dogtag.issuer.certificate.serial_number)
    issued = int(dogtag.issued_on[serial].timestamp() * 1000)

    def found(**criteria: object) -> list[str]:
        answer = ask(dogtag, "/ca/rest/certs/search", json.dumps(criteria).encode())
        return [each["id"] for each in json.loads(answer.body)["entries"]]

    assert found(subjectInUse=True, commonName="device", matchExactly=True) == [hex(serial)]
    assert found(subjectInUse=True, commonName="devic", matchExactly=True) == []
    assert found(issuedOnInUse=True, issuedOnFrom=issued - 1000) == [hex(serial)]
    assert found(issuedOnInUse=True, issuedOnFrom=issued + 1000) == []
    assert len(found(commonName="device")) == 2  # a criterion without its flag counts for nothing


def test_an_approved_request_is_pending_no_more() -> None:
    dogtag = dogtag_with_pending(2)
    dogtag.approve(16)
    dogtag.reject(17)
    assert numbers(ask(dogtag, f"{LIST}?requestState=pending")) == []
    stands = [json.loads(ask(dogtag, f"/ca/rest/certrequests/{number}").body) for number in (16, 17)]
    assert [each["requestStatus"] for each in stands] == ["complete", "rejected"]
    assert ask(dogtag, f"/ca/rest/certs/{stands[0]['certId']}").status == 200
    with pytest.raises(ValueError, match="not pending"):
        dogtag.approve(16)


def test_a_review_shows_the_csr_to_agents_only() -> None:
    dogtag = dogtag_with_pending(1)
    shown = json.loads(ask(dogtag, f"{LIST}/16").body)
    (group,) = shown["Input"]
    assert {each["name"] for each in group["Attribute"]} == {"cert_request_type", "cert_request"}
    assert ask(dogtag, f"{LIST}/99").status == 404
    assert ask(dogtag, f"{LIST}/16", credential="user").status == 403
    dogtag.ldap_down = True
    assert ask(dogtag, f"{LIST}/16").status == 401
