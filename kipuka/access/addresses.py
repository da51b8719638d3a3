"""Which client addresses count as one."""

from __future__ import annotations

import ipaddress

_NETWORK = 64


def counted_as(address: str) -> str:
    """What an IP address is counted as: of IPv6 its /64, all of which one subscriber has; else the address itself.

    IPv4 within IPv6 (``::ffff:192.0.2.1``), which a socket for both shows, is IPv4: all of it lies in one /64.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, _NETWORK), strict=False))
