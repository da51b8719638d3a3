"""How many connections there may be, overall and from one address."""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.testing import StringTransport

from kipuka.web.http.limits import ConnectionLimit


class Counter(ServerFactory):
    protocol = Protocol


class Door:
    """A limit and the connections through it."""

    def __init__(self, overall: int, per_address: int) -> None:
        self.told: list[tuple[str, str]] = []
        self.limit = ConnectionLimit(Counter(), overall, per_address, lambda *facts: self.told.append(facts))

    def knock(self, host: str) -> Protocol | None:
        address = IPv4Address("TCP", host, 1)
        protocol = self.limit.buildProtocol(address)
        if protocol is not None:
            protocol.makeConnection(StringTransport(peerAddress=address))
        return protocol


def leave(connection: Protocol | None) -> None:
    from twisted.internet.error import ConnectionDone
    from twisted.python.failure import Failure

    assert connection is not None
    connection.connectionLost(Failure(ConnectionDone()))


def test_connections_are_limited_per_address() -> None:
    door = Door(100, 2)
    first, second = door.knock("192.0.2.1"), door.knock("192.0.2.1")
    assert door.knock("192.0.2.1") is None
    assert door.told == [("192.0.2.1", "max_connections_per_address")]
    assert door.knock("192.0.2.2") is not None
    leave(first)
    third = door.knock("192.0.2.1")
    assert third is not None
    assert door.knock("192.0.2.1") is None
    leave(second)
    leave(third)
    assert door.knock("192.0.2.1") is not None


def test_an_ipv6_network_is_one_address() -> None:
    door = Door(100, 2)
    first = door.knock("2001:db8::1")
    assert door.knock("2001:db8::2") is not None
    assert door.knock("2001:db8::3") is None
    assert door.told == [("2001:db8::3", "max_connections_per_address")]
    assert door.knock("2001:db8:0:1::3") is not None
    leave(first)
    assert door.knock("2001:db8::3") is not None


def test_connections_are_limited_overall() -> None:
    door = Door(3, 2)
    inside = [door.knock(f"192.0.2.{number}") for number in range(3)]
    assert door.knock("192.0.2.99") is None
    leave(inside[1])
    assert door.knock("192.0.2.99") is not None
    assert door.knock("192.0.2.98") is None
    assert (door.limit.connections, door.limit.refused) == (3, 2)
    assert door.told == [("192.0.2.99", "max_connections"), ("192.0.2.98", "max_connections")]


def test_addresses_are_forgotten() -> None:
    door = Door(10, 10)
    for number in range(200):
        leave(door.knock(f"192.0.2.{number}"))
    assert not door.limit._count
