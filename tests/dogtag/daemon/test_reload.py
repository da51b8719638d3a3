"""SIGHUP before the real Dogtag: under load, under clients that wait for an agent, and what it brings into force.

What a client saw under load is printed (pytest -s).
"""

from __future__ import annotations

import time
from pathlib import Path

from cryptography import x509

from tests.dogtag.daemon.changing_site import AUTO, MANUAL, running
from tests.dogtag.daemon.pool_site import is_clones
from tests.dogtag.lab_export import Account, Lab
from tests.process.ledger.site import until
from tests.support.est_device import Device
from tests.support.est_load import Load

SECONDS = 20
OTHER_PROFILE = "caECAgentServerCert"
"""Issues at once too; its certificates are told from kipukaServer's by their extensions."""


def looks(certificate: x509.Certificate) -> frozenset[str]:
    """What tells the certificates of two profiles apart: their extensions."""
    return frozenset(each.oid.dotted_string for each in certificate.extensions) | frozenset(
        purpose.dotted_string for purpose in certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    )


def test_reloads_under_load_lose_no_request_refuse_none_and_double_none(lab: Lab, tmp_path: Path) -> None:
    """A label comes and goes; of the one that all use the profile changes, and what is behind it: a CA, or a group."""
    assert lab.clone_url is not None, "this needs the lab's clone: lab up --second"
    with running(lab, tmp_path) as site:
        changed = site.text.replace('"kipukaServer"\n', f'"{OTHER_PROFILE}"\n')
        changed = changed.replace('replay_window = "10m"', 'replay_window = "5m"')
        assert changed != site.text
        both = site.group(lab.clone_url) + site.without_label("auto") + site.label("auto", "kipukaServer", "both")
        texts = [site.text, site.text + site.label("spare", "kipukaServer"), changed, both]

        def latecomer() -> Device:
            time.sleep(0.2)  # its label is away half of the time, which is answered at once
            return site.device()

        with Load(site.device, AUTO, 4) as load, Load(latecomer, "spare/simpleenroll", 1) as spare:
            load.served(5, 60)
            end = time.monotonic() + SECONDS
            reloads = 0
            while time.monotonic() < end:
                begun = time.monotonic()
                site.reload(texts[reloads % len(texts)])
                reloads += 1
                time.sleep(max(0, begun + 1 - time.monotonic()))
            for text in texts * 3:  # several at once, one in the middle of the other
                site.write(text)
                site.hup()
                time.sleep(0.05)
            load.served(5, 60)
        print(f"{reloads} reloads, then 12 within a second: {load.account()}")
        print(f"at the label that comes and goes: {len(spare.done)} devices, {len(spare.failures)} times 404")
        assert reloads >= SECONDS // 2
        assert (load.failures, load.told_to_wait) == ([], 0)
        assert {each.partition(":")[2].strip()[:3] for each in spare.failures} == {"404"}
        number = len(load.done) + len(spare.done)
        until(lambda: len(site.made()) >= number, 60, "the clone's certificates were not replicated")
        made = site.made()
        assert len(made) == number
        assert load.has_one_each(made)
        assert spare.has_one_each(made)
        assert spare.done
        certificates = [answer.certificate for _, answer in load.done]
        assert len(set(map(looks, certificates))) == 2
        assert set(map(is_clones, certificates)) == {True, False}


def test_who_waits_for_an_agent_waits_on_through_reloads(lab: Lab, tmp_path: Path) -> None:
    """Also when the label is gone meanwhile. The answer comes on the connection on which was asked."""
    with running(lab, tmp_path) as site:
        first, second = site.device(), site.device()
        waiting = [first.asking(MANUAL)]
        until(lambda: site.said('"event": "enrollment deferred"') >= 1, 30, "nobody waits")
        site.reload(site.text.replace("poll_interval = 1", "poll_interval = 2"))
        waiting.append(second.asking(MANUAL))
        until(lambda: site.said('"event": "enrollment deferred"') >= 2, 30, "the second does not wait")
        gone = site.without_label("manual")
        for number in range(6):
            site.reload(gone if number % 2 else site.text)
            time.sleep(0.5)
        assert site.device().ask(MANUAL).status == 404
        assert not any(each.done() for each in waiting)
        site.approve()
        approved = time.monotonic()
        made = [each.result(timeout=60) for each in waiting]
        print(f"answered {max(answer.at for answer in made) - approved:.1f} s after the approval")
        for device, answer in zip((first, second), made, strict=True):
            assert device.certificates(site.made()) == [answer.certificate]


def test_the_agents_certificate_is_exchanged(lab: Lab, tmp_path: Path) -> None:
    """One that is broken is refused; one that the CA does not know is used, and refused by the CA."""
    with running(lab, tmp_path) as site:
        assert site.device().ask(AUTO).status == 200
        certificate = tmp_path / "agent.pem"
        certificate.write_text("-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n")
        site.reload(well=False)
        assert site.said(f"{certificate}: a certificate in it is damaged") >= 1
        assert site.device().ask(AUTO).status == 200
        site.use_agent(Account(lab.agent.certificate, lab.user.key))
        site.reload(well=False)
        certificate.unlink()
        site.reload(well=False)
        assert site.device().ask(AUTO).status == 200
        site.use_agent(lab.stranger)
        site.reload()
        assert site.device().ask(AUTO).status in {500, 502, 503}
        site.use_agent(lab.agent)
        site.reload()
        assert site.device().ask(AUTO).status == 200


def test_a_label_moves_to_another_profile_ca_and_group(lab: Lab, tmp_path: Path) -> None:
    assert lab.clone_url is not None, "this needs the lab's clone: lab up --second"
    with running(lab, tmp_path) as site:
        before = site.device().ask(AUTO).certificate
        assert not is_clones(before)
        rest = site.without_label("auto")
        site.reload(rest + site.label("auto", OTHER_PROFILE))
        other = site.device().ask(AUTO).certificate
        assert looks(other) != looks(before)
        clone = site.group(lab.clone_url)
        site.reload(clone + rest + site.label("auto", "kipukaServer", "clone"))
        assert is_clones(site.device().ask(AUTO).certificate)
        site.reload(clone + rest + site.label("auto", "kipukaServer", "both"))
        assert is_clones(site.device().ask(AUTO).certificate)
        clone = clone.replace('"clone", "dogtag"', '"dogtag", "clone"')
        site.reload(clone + rest + site.label("auto", "kipukaServer", "both"))
        assert not is_clones(site.device().ask(AUTO).certificate)
        site.reload()
        again = site.device().ask(AUTO).certificate
        assert looks(again) == looks(before)
        assert not is_clones(again)
