"""What kipuka makes of requests recorded from clients, see tests/vectors/clients/README.md. Needs no client program."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from twisted.web.http import Request
from twisted.web.http_headers import Headers

from kipuka.est import media
from kipuka.est.csr import CertificationRequest
from kipuka.web.est.authentication import wants_bare_challenge

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "clients"
REQUESTS = sorted(VECTORS.glob("*.http"))
ONE_LINE = {"strongswan"}
BARE_CHALLENGE = {"bouncycastle-simpleenroll-1"}
"""The one 401 that is given in an ordinary enrollment."""

each_request = pytest.mark.parametrize("file", REQUESTS, ids=lambda file: file.stem)


def parse(file: Path) -> tuple[Headers, bytes]:
    head, _, body = file.read_bytes().partition(b"\r\n\r\n")
    headers = Headers()
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b": ")
        headers.addRawHeader(name, value)
    return headers, body


def test_the_recordings_are_there() -> None:
    assert {file.stem.partition("-")[0] for file in REQUESTS} == {"bouncycastle", "curl", "libest", "strongswan"}


@each_request
def test_t2_t10_line_length_for_this_client(file: Path) -> None:
    headers, _ = parse(file)
    wrap = media.wrap_for((name for name, _ in headers.getAllRawHeaders()), "auto")
    assert wrap == (None if file.stem.partition("-")[0] in ONE_LINE else 64)


@pytest.mark.parametrize("file", [file for file in REQUESTS if "enroll" in file.stem], ids=lambda file: file.stem)
def test_enc_01_enc_03_enc_11_the_body_is_understood(file: Path) -> None:
    headers, body = parse(file)
    (media_type,) = headers.getRawHeaders("Content-Type", [])
    media.check_media_type(media_type, media.PKCS10)
    request = CertificationRequest.decode(media.decode_base64(body))
    assert request.subject.rfc4514_string() == "CN=sensor-1.example.com,O=Example"


@pytest.mark.parametrize("file", [file for file in REQUESTS if "simpleenroll" in file.stem], ids=lambda file: file.stem)
def test_auth_04_t10_the_challenge_has_no_body_for_bouncy_castle(file: Path) -> None:
    headers, _ = parse(file)
    authorized = headers.hasHeader("Authorization")
    request = cast("Request", SimpleNamespace(requestHeaders=headers))
    assert wants_bare_challenge(request) == (file.stem in BARE_CHALLENGE)
    assert authorized != (file.stem in BARE_CHALLENGE)
