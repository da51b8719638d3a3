"""A daemon says how it is, and gives out the CA's certificates while the CA is away."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPSHandler, build_opener

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates

from tests.process.ledger.site import AUTO, Site, running, until
from tests.process.sites import Site as LocalSite
from tests.support import pki
from tests.support.daemon import Daemon


def get(port: int, trust: Path, path: str) -> tuple[int, bytes]:
    context = ssl.create_default_context(cafile=trust)
    opener = build_opener(HTTPSHandler(context=context))
    try:
        answer: HTTPResponse = opener.open(f"https://localhost:{port}{path}", timeout=20)
    except HTTPError as refused:
        with contextlib.closing(refused):
            return refused.code, refused.read()
    with answer:
        return answer.status, answer.read()


def ask(site: Site, page: str) -> tuple[int, Any]:
    status, body = get(site.port, site.trust, f"/health/{page}")
    return status, json.loads(body)


def ready(site: Site) -> int:
    return ask(site, "ready")[0]


def ca_certificates(site: Site) -> tuple[int, list[x509.Certificate]]:
    status, body = get(site.port, site.trust, "/.well-known/est/cacerts")
    return status, load_der_pkcs7_certificates(base64.b64decode(body)) if status == 200 else []


def is_refused(site: Site) -> bool:
    status, value = ask(site, "ready")
    return status == 503 and value["reasons"] == ["No CA of dogtag can be used: dogtag is degraded."]


def test_a_start_without_the_ca_gives_out_its_certificates_and_is_not_ready(tmp_path: Path) -> None:
    with running(tmp_path) as site:
        until(lambda: ready(site) == 200, 20, "the daemon was not ready")
        until(lambda: ask(site, "ca")[1]["dogtag"]["status"] == "healthy", 20, "the CA was not healthy")
        assert site.device().ask(AUTO).status == 200
        site.daemon.stop()
        site.dogtag.kill()

        site.start()
        assert ca_certificates(site) == (200, [site.dogtag.root.certificate])
        until(lambda: is_refused(site), 20, "the daemon did not say that it is not ready, and why")
        assert ask(site, "live") == (200, {"status": "live"})
        status, cas = ask(site, "ca")
        assert (status, cas["dogtag"]["status"]) == (200, "degraded")
        assert ca_certificates(site) == (200, [site.dogtag.root.certificate])


@pytest.mark.parametrize("other", ["a stranger", "garbage"])
def test_what_another_wrote_into_the_database_is_not_given_out(tmp_path: Path, other: str) -> None:
    with running(tmp_path) as site:
        until(lambda: site.sql("SELECT count(*) FROM ca_chains") == [(1,)], 20, "the chain was not kept")
        site.daemon.stop()
        site.dogtag.kill()
        chain = pki.pem(pki.root("CN=Stand-In CA,O=EXAMPLE").certificate).decode() if other == "a stranger" else other
        site.sql("UPDATE ca_chains SET chain = ?", chain)

        site.start()
        assert ca_certificates(site) == (503, [])
        site.logged("the kept chain of dogtag is not used")


def test_a_daemon_with_a_ca_of_its_own_is_ready(own: LocalSite) -> None:
    own.write()
    with Daemon(own.config):
        trust = own.folder / "tls-root.pem"
        assert get(own.port, trust, "/health/ready")[0] == 200  # at once: there is nobody to ask

        def status() -> str:
            code, body = get(own.port, trust, "/health/ca")
            assert code == 200
            return str(json.loads(body)["main"]["status"])

        until(lambda: status() == "healthy", 20, "the CA was not looked at")
        assert get(own.port, trust, "/health")[0] == 404
