#!/usr/bin/env python3
"""Records what the lab's Dogtag answers, verbatim, for FACTS.md and the test vectors.

    record.py GET /ca/rest/info
    record.py --as agent --header "Accept: application/json" GET /ca/rest/agent/certrequests/17
    record.py --as agent --header "Content-Type: application/json" --body request.json POST /ca/rest/certrequests

One call over a TLS connection of its own. Standard output gets the request and the answer as they went over the wire:
CRLF shown as LF, a chunked body joined, a binary body as base64 with a line saying so. Python's HTTP client would hide
the status line and the order of the headers, so this speaks over the bare socket.
"""

from __future__ import annotations

import argparse
import base64
import os
import socket
import ssl
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

TIMEOUT = 60
ACCOUNTS = ("agent", "ra", "kra-agent", "user", "stranger", "admin")


def main() -> None:
    root = os.environ.get("DOGTAG_LAB_ROOT", "/srv/dogtag")
    parser = argparse.ArgumentParser(description="Record one call to the lab's Dogtag.")
    parser.add_argument("--as", dest="account", choices=ACCOUNTS, help="client certificate (default: none)")
    parser.add_argument("--clone", action="store_true", help="speak to the CA's clone")
    parser.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'")
    parser.add_argument("--body", type=Path, metavar="FILE", help="sent as it is, with its Content-Length")
    parser.add_argument("--export", type=Path, default=Path(os.environ.get("DOGTAG_LAB_EXPORT") or f"{root}/export"))
    parser.add_argument("method")
    parser.add_argument("path")
    options = parser.parse_args()

    env = dict(line.split("=", 1) for line in (options.export / "env").read_text().splitlines())
    address = urlsplit(env["DOGTAG_CLONE_URL" if options.clone else "DOGTAG_URL"])
    body = options.body.read_bytes() if options.body else b""
    headers = [f"Host: {address.netloc}", "User-Agent: kipuka-lab", *options.header]
    if options.body:
        headers.append(f"Content-Length: {len(body)}")
    head = "\r\n".join([f"{options.method} {options.path} HTTP/1.1", *headers, "", ""])

    print(f"# client certificate: {options.account or 'none'}")
    print(">>>>>>>> REQUEST\n" + head.replace("\r\n", "\n") + shown(body))
    answer_head, answer_body = exchange(
        address.hostname or "", address.port or 443, context(options), head.encode() + body
    )
    print("<<<<<<<< RESPONSE\n" + answer_head.replace("\r\n", "\n") + shown(answer_body))


def context(options: argparse.Namespace) -> ssl.SSLContext:
    result = ssl.create_default_context(cafile=options.export / "ca-chain.pem")
    if options.account:
        stem = f"{options.export}/{options.account}"
        result.load_cert_chain(f"{stem}.pem", f"{stem}-key.pem")
    return result


def exchange(host: str, port: int, tls: ssl.SSLContext, request: bytes) -> tuple[str, bytes]:
    """Send the request; return the answer's head (status line, headers, empty line) and its body."""
    with (
        socket.create_connection((host, port), TIMEOUT) as plain,
        tls.wrap_socket(plain, server_hostname=host) as connection,
        connection.makefile("rb") as stream,
    ):
        connection.sendall(request)
        head = ""
        fields: dict[str, str] = {}
        while (line := stream.readline().decode("latin-1")).strip():
            head += line
            name, _, value = line.partition(":")
            fields[name.strip().lower()] = value.strip()
        status = int(head.split()[1])
        if status in {204, 304} or request.startswith(b"HEAD "):
            body = b""
        elif fields.get("transfer-encoding", "").lower() == "chunked":
            body = b"".join(iter(lambda: chunk(stream), b""))
        elif "content-length" in fields:
            body = stream.read(int(fields["content-length"]))
        else:
            body = stream.read()
        return head + line, body


def chunk(stream: BinaryIO) -> bytes:
    data = stream.read(int(stream.readline().split(b";")[0], 16))
    stream.readline()
    return data


def shown(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" not in text:
        return text
    return f"[{len(body)} bytes of binary, base64:]\n{base64.encodebytes(body).decode()}"


if __name__ == "__main__":
    main()
