"""Which client addresses count as one."""

from __future__ import annotations

import ipaddress

_NETWORK = 64
_IPV4_WITHIN, _TRANSLATED = ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("64:ff9b::/96")


def counted_as(address: str) -> str:
    """What an IP address is counted as: of IPv6 its /64, all of which one subscriber has; else the address itself.

    IPv4 within IPv6 is IPv4, for all of it lies in one /64: as a socket for both shows it (``::ffff:192.0.2.1``), and
    as a translator does (``64:ff9b::192.0.2.1``, RFC 6052 §2.1).
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found in _IPV4_WITHIN or found in _TRANSLATED:
        return str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF))
    return str(ipaddress.ip_network((found, _NETWORK), strict=False))
