"""kipuka.authority.dogtag.subsystem: when a KRA and a TPS count as well."""

from __future__ import annotations

import pytest
from treq.testing import RequestTraversalAgent
from twisted.internet.task import Clock
from twisted.web.http import Request
from twisted.web.resource import Resource

from kipuka.authority.dogtag import Subsystem
from kipuka.authority.dogtag.rest.client import Client
from kipuka.authority.dogtag.wire import Answer
from kipuka.authority.interface import Probed
from kipuka.errors import AuthorityError, Kind
from tests.support.dogtag.answers import HTML_404, URL
from tests.support.dogtag.standin import now, send

# As 10.10.2 answered: an agent, a user who is none, nobody it knows.
NO_KEYS = Answer(200, "application/json", b'{"total":0,"entries":[],"Link":[]}')
NO_AGENT = Answer(
    403, "application/json", b'{"Attributes":{"Attribute":[]},"Code":403,"Message":"Authorization Error"}'
)
STRANGER = Answer(401, "text/html;charset=utf-8", b"<!doctype html><title>HTTP Status 401</title>")
RUNNING = Answer(200, "application/xml", b"<XMLResponse><State>1</State><Type>TPS</Type><Status>running</Status>")
STARTING = Answer(200, "application/xml", b"<XMLResponse><State>0</State><Type>TPS</Type><Status>starting</Status>")
KEYS = "agent/keys?clientKeyID=kipuka-probe&size=1"


class Server(Resource):
    isLeaf = True  # noqa: N815 - Twisted's

    def __init__(self, **answers: Answer) -> None:
        super().__init__()
        self.answers = answers
        self.asked: list[str] = []

    def render(self, request: Request) -> bytes:
        uri = request.uri.decode()
        self.asked.append(uri)
        return send(request, self.answers.get(uri.split("/")[2], HTML_404))

    def client(self) -> Client:
        return Client(URL, RequestTraversalAgent(self), Clock())


def trouble(subsystem: Subsystem) -> AuthorityError:
    with pytest.raises(AuthorityError) as caught:
        now(subsystem.probe())
    return caught.value


def test_a_kra_is_asked_as_an_agent_for_what_stands_in_its_directory() -> None:
    server = Server(rest=NO_KEYS)
    kra = Subsystem.kra(server.client())
    assert isinstance(kra, Probed)
    now(kra.probe())
    assert server.asked == [f"/kra/rest/{KEYS}"]


def test_a_newer_kra_without_the_old_paths() -> None:
    server = Server(v1=NO_KEYS)
    now(Subsystem.kra(server.client()).probe())
    assert server.asked == [f"/kra/rest/{KEYS}", f"/kra/v1/{KEYS}"]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (NO_AGENT, Kind.MISCONFIGURED),
        (STRANGER, Kind.MISCONFIGURED),
        (HTML_404, Kind.UNREACHABLE),
        (Answer(500, "application/json", b'{"Message":"Unable to list keys"}'), Kind.BAD_ANSWER),
        (Answer(200, "text/html", b"Under maintenance"), Kind.BAD_ANSWER),
    ],
)
def test_a_kra_that_is_not_well(answer: Answer, kind: Kind) -> None:
    error = trouble(Subsystem.kra(Server(rest=answer).client()))
    assert error.kind is kind
    assert error.text.startswith("The KRA beside the CA does not work")
    assert error.cause


def test_a_tps_says_that_it_runs() -> None:
    server = Server(admin=RUNNING)
    now(Subsystem.tps(server.client()).probe())
    assert server.asked == ["/tps/admin/tps/getStatus"]
    assert trouble(Subsystem.tps(Server(admin=STARTING).client())).kind is Kind.BAD_ANSWER
    assert trouble(Subsystem.tps(Server().client())).text.startswith("The TPS beside the CA")
