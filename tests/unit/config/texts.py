"""Parts of configurations for tests, and the faults of a whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from kipuka.config.load import ConfigFaults, parse

HERE = Path("/etc/kipuka")

TLS = """
[tls]
cert = "tls.pem"
key = "/keys/tls.pem"
"""
FILE_CA = """
[[ca]]
id = "local"
cert = "ca.pem"
key = "ca-key.pem"
"""
DOGTAG_CA = """
[[ca]]
id = "dogtag"
type = "dogtag"
url = "https://dogtag.example.com:8443"
agent_cert = "agent.pem"
agent_key = "agent-key.pem"
ca_cert = "chain.pem"
profile = "caServerCert"
"""
USERS = """
[est]
users = "users"
"""
MINIMAL = TLS + FILE_CA + USERS


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigFaults) as caught:
        parse(text, HERE)
    assert str(caught.value) == "\n".join(map(str, caught.value.faults))
    return [str(fault) for fault in caught.value.faults]


def label(lines: str = "", name: str = "lab", ca_id: str = "local") -> str:
    return f'[[est.label]]\nname = "{name}"\nca_id = "{ca_id}"\n{lines}\n'
