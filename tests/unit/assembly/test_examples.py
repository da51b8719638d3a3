"""No configuration that we print lets anybody have another's name, on no path; and each lets somebody have its own."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from kipuka.access.credentials.users import Users
from kipuka.access.identity import Caller
from kipuka.assembly.labels import labels
from kipuka.config.load import load
from kipuka.config.model import Config
from kipuka.errors import RequestError
from kipuka.est.csr import CertificationRequest
from kipuka.web.est.routing import Label
from tests.support import pki
from tests.unit.config.test_documents import BLOCKS, ROOT, completed

FILES = sorted((ROOT / "conf").glob("**/*.toml"))
CA = pki.root()
KEYS = (pki.ec_key(), pki.rsa_key(3072))
USERS = (None, "dev1", "line-1", "provisioning-1", "shop.www.example.com")
SUBJECTS = ("CN=dev1", "CN=dev1,O=Example", "CN=dev1,O=Example Corp", "CN=a,OU=Provisioning,O=Example Corp")
CERTIFICATES = (None, *(CA.client(subject).certificate for subject in SUBJECTS))
CALLERS = [
    Caller(certificate, user, "192.0.2.7", () if certificate is None else (CA.certificate,))
    for user, certificate in product(USERS, CERTIFICATES)
]
SERVER = "est.example.com"
"""The name of the EST server: whoever gets a certificate for it can take its place."""


@pytest.fixture(autouse=True)
def _anchors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kipuka.config.material.certificates", lambda _path: (CA.certificate,))


def built(config: Config) -> Mapping[str | None, Label]:
    users = None if config.est.users is None else Users.parse("")
    return labels(config, lambda *_: cast("Any", None), users)


def requests(cn: str, *names: str) -> list[CertificationRequest]:
    subjects = (f"CN={cn}", f"CN={cn},O=Example", f"CN={cn},O=Example Corp")
    made = [pki.csr(key, subject, pki.san(*names) if names else None) for key, subject in product(KEYS, subjects)]
    return [CertificationRequest.decode(each.public_bytes(Encoding.DER)) for each in made]


FOREIGN = [
    *requests("dev2", "dev2"),
    *requests(SERVER),
    *requests(SERVER, SERVER),
    *requests(SERVER, "dev1"),
    *requests("dev1", SERVER),
    *requests("dev1", "dev1", SERVER),
    *requests("dev1", "192.0.2.1"),
    *requests("a.devices.example.com", SERVER),
    *requests("shop.www.example.com", SERVER),
]
OWN = [
    request
    for name in ("dev1", "a.devices.example.com", "shop.www.example.com", "dev1.new")
    for request in requests(name, name)
]


def gets(label: Label, caller: Caller, request: CertificationRequest) -> bool:
    try:
        label.policy.check(label.policy.admit(caller), request)
    except RequestError:
        return False
    return True


def refuses_foreign_names(config: Config) -> None:
    for name, label in built(config).items():
        got = [(caller.name, each.subject) for caller, each in product(CALLERS, FOREIGN) if gets(label, caller, each)]
        assert got == [], f"label {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nobody_gets_a_foreign_name_from_an_example(path: Path) -> None:
    refuses_foreign_names(load(path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_somebody_gets_its_own_name_from_an_example(path: Path) -> None:
    for name, label in built(load(path)).items():
        assert any(gets(label, caller, request) for caller, request in product(CALLERS, OWN)), f"label {name}"


@pytest.mark.parametrize("block", [each for each in BLOCKS if "[[est.label]]" in str(each.values[0])])
def test_nobody_gets_a_foreign_name_from_a_documented_label(block: str) -> None:
    refuses_foreign_names(completed(block))
