"""What no peer would shake hands with is found before it is served, and no more than that."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from OpenSSL import SSL

from kipuka.tls import trial
from kipuka.tls.contexts import words
from tests.support import pki

ROOT = pki.root("CN=Trial Root")
WEAK = pki.rsa_key(1024)


def faults(identity: pki.Identity) -> tuple[list[str], list[str]]:
    """As a server, and as a client."""
    return list(trial.server(identity.chain, identity.key)), list(trial.client(identity.chain, identity.key))


@pytest.mark.parametrize(
    "key",
    [
        pki.rsa_key(2048),
        pki.ec_key(),
        pki.ec_key(ec.SECP384R1()),
        pki.ec_key(ec.SECP521R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["rsa-2048", "p256", "p384", "p521", "ed25519"],
)
def test_usual_keys(key: pki.PrivateKey) -> None:
    assert faults(ROOT.server(key=key)) == ([], [])


@pytest.mark.parametrize(
    ("key", "as_server", "as_client"),
    [
        (WEAK, "ee key too small", "ee key too small"),
        (pki.ec_key(ec.SECP192R1()), "ee key too small", "ee key too small"),
        # These make a context without a word.
        (pki.ec_key(ec.SECP256K1()), "no shared cipher", "peer did not return a certificate"),
        (pki.ec_key(ec.SECP224R1()), "no shared cipher", "peer did not return a certificate"),
    ],
    ids=["rsa-1024", "p192", "secp256k1", "p224"],
)
def test_keys_that_would_not_serve(key: pki.PrivateKey, as_server: str, as_client: str) -> None:
    for found, said in zip(faults(ROOT.server(key=key)), (as_server, as_client), strict=True):
        (fault,) = found
        assert fault.startswith(f"no TLS connection can be made with this: {said}; use RSA keys of at least 2048 bits")


def test_a_weak_intermediate() -> None:
    identity = pki.root("CN=Root").intermediate("CN=Weak", WEAK).server()
    for (fault,) in faults(identity):
        assert "ca key too small" in fault


def test_a_weak_root_is_in_the_way_only_where_it_is_sent() -> None:
    root = pki.root("CN=Root", WEAK)
    below = root.server()
    assert faults(below) == ([], [])
    as_server, as_client = faults(pki.Identity(below.certificate, below.key, (root.certificate,)))
    assert (as_server, len(as_client)) == ([], 1)


def test_errors_in_one_line() -> None:
    assert words(SSL.Error([("SSL routines", "", "ee key too small"), ("x", "y", "z")])) == "ee key too small, z"
    assert words(ValueError("so")) == "so"
    assert words(ValueError()) == "ValueError"
