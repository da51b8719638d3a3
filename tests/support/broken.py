"""Bodies that are not what they should be: for random choices, and for hypothesis."""

from __future__ import annotations

import base64
import random

from hypothesis import strategies as st

from tests.support import pki

_DER = [
    request.public_bytes(pki.serialization.Encoding.DER)
    for request in (
        pki.csr(pki.ec_key(), "CN=device-1", pki.san("a.example", "192.0.2.1")),
        pki.csr(pki.rsa_key(), "CN=device-2,O=Example", challenge_password="x"),
    )
]


def mutated(chance: random.Random, good: bytes) -> bytes:
    """A good base64 body with one thing wrong in its text or in its DER."""
    der = bytearray(base64.b64decode(good))
    place = chance.randrange(len(der))
    match chance.randrange(6):
        case 0:
            der[place] ^= 1 << chance.randrange(8)
        case 1:
            del der[place]
        case 2:
            der = der[:place]
        case 3:
            der[place:place] = chance.randbytes(chance.randrange(1, 20))
        case 4:
            return good[:place] + chance.randbytes(4) + b"\xff" + good[place:]
        case 5:
            return good[: place - place % 4] + b"="
    return base64.b64encode(der)


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """A request in DER with a slice of it replaced by something else."""
    der = draw(st.sampled_from(_DER))
    start = draw(st.integers(0, len(der) - 1))
    end = draw(st.integers(start, min(len(der), start + 40)))
    inserted = draw(st.binary(max_size=40))
    result = der[:start] + inserted + der[end:]
    return result if result not in _DER else der + b"\0"


@st.composite
def _nested(draw: st.DrawFn) -> bytes:
    """Elements within elements within elements."""
    inner = draw(st.binary(max_size=8))
    for tag in draw(st.lists(st.sampled_from([0x30, 0x31, 0xA0, 0x24, 0x06, 0x02]), max_size=400)):
        length = len(inner)
        form = bytes([length]) if length < 0x80 else b"\x82" + length.to_bytes(2)
        inner = bytes([tag]) + form + inner
    return inner


def bodies() -> st.SearchStrategy[bytes]:
    """Bodies that are no certification request in base64."""
    der = st.one_of(_damaged(), _nested(), st.binary(max_size=300))
    return st.one_of(
        der.map(base64.b64encode),
        der.map(base64.encodebytes),
        der,
        st.binary(max_size=2000),
        st.text(alphabet="ABCabc012+/= \r\n\t-_", max_size=500).map(str.encode),
    )
