"""Many devices in one process, all waiting on TLS connections of their own: the clients' side of bench.waiting.

    python -m bench.crowd PORT TRUST CERTIFICATE KEY NUMBER LABEL

Prints a line when every request is out, and one of JSON when every answer is in.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import sys
import time
from collections import Counter

from cryptography.hazmat.primitives.serialization import Encoding

from tests.support import pki

_HANDSHAKES = 32
"""At a time: a thousand at once would only time out one another."""


async def main() -> None:
    """Send all requests, then wait for all answers."""
    port, number = int(sys.argv[1]), int(sys.argv[5])
    context = ssl.create_default_context(cafile=sys.argv[2])
    context.load_cert_chain(sys.argv[3], sys.argv[4])
    turns = asyncio.Semaphore(_HANDSHAKES)

    async def ask(index: int) -> asyncio.StreamReader:
        csr = pki.csr(pki.ec_key(), f"CN=crowd-{index}")
        body = base64.b64encode(csr.public_bytes(Encoding.DER))
        head = (
            f"POST /.well-known/est/{sys.argv[6]}/simpleenroll HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Content-Type: application/pkcs10\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        async with turns:
            reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
            writers.append(writer)
            writer.write(head.encode() + body)
            await writer.drain()
        return reader

    async def answer(reader: asyncio.StreamReader) -> tuple[int, float]:
        text = await reader.read()
        return int(text[9:12]), time.monotonic()

    writers: list[asyncio.StreamWriter] = []
    readers = await asyncio.gather(*map(ask, range(number)))
    print("waiting", flush=True)
    answers = await asyncio.gather(*map(answer, readers))
    moments = [moment for _, moment in answers]
    print(json.dumps({"statuses": Counter(status for status, _ in answers), "last": max(moments)}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
