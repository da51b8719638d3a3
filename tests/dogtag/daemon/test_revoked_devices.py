"""Devices whose certificates an administrator revokes through kipuka: what the CA, kipuka and its TLS make of it."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from kipuka.authority.revoking import Reason
from tests.dogtag.daemon.changing_site import AUTO, ChangingSite, running
from tests.dogtag.lab_export import Lab
from tests.support.est_device import Answer, Device

RENEW = "auto/simplereenroll"
LASTING = [each for each in Reason if each not in (Reason.CERTIFICATE_HOLD, Reason.REMOVE_FROM_CRL)]


def enrolled(site: ChangingSite) -> tuple[Device, int]:
    """A device that shows what it was issued, and its serial number."""
    device = site.device()
    certificate = device.ask(AUTO).certificate
    return site.holder(device, certificate), certificate.serial_number


def refused_by_tls(device: Device) -> bool:
    """Whether its certificate ends the handshake, as a revoked one does."""
    try:
        device.fetch("auto/cacerts")
    except ssl.SSLError as alert:
        return "CERTIFICATE_REVOKED" in str(alert)
    return False


def is_not_renewed(answer: Answer, status: str = "revoked") -> bool:
    """Whether kipuka refused, after it had asked the CA."""
    return answer.status == 403 and f"is {status} at the CA".encode() in answer.body


def test_every_reason_arrives_and_the_device_is_not_renewed(lab: Lab, tmp_path: Path) -> None:
    with running(lab, tmp_path) as site:
        for reason in LASTING:
            device, serial = enrolled(site)
            assert site.administrator.revoke(serial, reason.value) == ["dogtag", "revoked"]
            assert site.agent.standing(serial) == ("REVOKED", reason.code)
            assert is_not_renewed(device.ask(RENEW))
            assert site.administrator.revoke(serial, "superseded") == ["dogtag", "already revoked"]
            assert site.administrator.revoke(serial, "removeFromCRL")[0] == "conflict"
            assert site.agent.standing(serial) == ("REVOKED", reason.code)
        assert len(LASTING) == 8


def test_hold_and_un_hold(lab: Lab, tmp_path: Path) -> None:
    with running(lab, tmp_path) as site:
        device, serial = enrolled(site)
        assert site.administrator.revoke(serial, "certificateHold") == ["dogtag", "on hold"]
        assert site.agent.standing(serial) == ("REVOKED", Reason.CERTIFICATE_HOLD.code)
        assert device.ask(RENEW).status == 403
        assert site.administrator.revoke(serial, "removeFromCRL") == ["dogtag", "released"]
        assert site.agent.standing(serial) == ("VALID", None)
        assert site.administrator.revoke(serial, "removeFromCRL") == ["dogtag", "not on hold"]
        assert device.ask(RENEW).status == 200
        assert site.administrator.revoke(serial, "certificateHold") == ["dogtag", "on hold"]
        assert site.administrator.revoke(serial, "keyCompromise") == ["dogtag", "revoked"]
        assert site.agent.standing(serial) == ("REVOKED", Reason.KEY_COMPROMISE.code)


def test_what_was_given_out_is_not_given_out_again(lab: Lab, tmp_path: Path) -> None:
    with running(lab, tmp_path) as site:
        device = site.device()
        first = device.ask(AUTO).certificate
        assert device.ask(AUTO).certificate == first  # the replay
        site.administrator.revoke(first.serial_number, "keyCompromise")
        assert device.ask(AUTO).certificate != first


def test_a_revoked_certificate_opens_no_connection_once_the_crl_was_fetched(lab: Lab, tmp_path: Path) -> None:
    """The status at the CA counts at once; the CRL from the reload after it was fetched."""
    with running(lab, tmp_path) as site:
        (revoked, serial), (held, hold), (good, _) = (enrolled(site) for _ in range(3))
        site.reload(site.with_crl(site.agent.crl()))
        assert all(each.fetch("auto/cacerts").status == 200 for each in (revoked, held, good))
        site.administrator.revoke(serial, "keyCompromise")
        site.administrator.revoke(hold, "certificateHold")
        assert is_not_renewed(revoked.ask(RENEW))  # TLS does not know yet
        fresh = site.agent.crl()
        assert revoked.fetch("auto/cacerts").status == 200
        site.reload(site.with_crl(fresh))
        assert refused_by_tls(revoked)
        assert refused_by_tls(held)
        with pytest.raises(ssl.SSLError):
            revoked.ask(RENEW)
        assert good.ask(RENEW).status == 200
        assert site.device().ask(AUTO).status == 200  # with its maker's
        assert site.administrator.revoke(hold, "removeFromCRL")[1] == "released"
        site.reload(site.with_crl(site.agent.crl()))
        assert held.ask(RENEW).status == 200
        assert refused_by_tls(revoked)
