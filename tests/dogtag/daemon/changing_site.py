"""kipuka in front of the lab's CA, and its configuration changed while it runs."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import secrets
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from tests.chaos import site as chaos_site
from tests.chaos.dogtag import Dogtag
from tests.dogtag.lab_export import Account, Lab
from tests.support import pki
from tests.support.administrator import Administrator
from tests.support.daemon import Daemon
from tests.support.est_device import Device

AUTO, MANUAL = "auto/simpleenroll", "manual/simpleenroll"


class ChangingSite:
    """The labels "auto" and "manual" of the CA "dogtag", whose agent's certificate and key are files of the site's own.

    :ivar text: the configuration at the start; :meth:`reload` takes another.
    :param name: in the common names of all devices, and in nobody else's.
    """

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.folder = folder
        self.agent = Dogtag(lab)
        self.name = f"reload-{secrets.token_hex(4)}"
        self._site = chaos_site.make(folder, lab, urlsplit(lab.url).port or 443)
        self._numbers = itertools.count(1)
        self._foreign = set(self.agent.pending())
        self.use_agent(lab.agent)
        text = re.sub(r'agent_cert = ".*"\nagent_key = ".*"', "", self._site.config.read_text())
        text = text.replace('type = "dogtag"', 'type = "dogtag"\nagent_cert = "agent.pem"\nagent_key = "agent-key.pem"')
        self.text = (
            text.replace('approval_timeout = "3s"', 'approval_timeout = "2m"') + '\n[admin]\ntokens = "tokens"\n'
        )
        self._site.config.write_text(self.text)
        self.administrator = Administrator(folder, self._site.port, self._site.trust)
        self.daemon = Daemon(self._site.config)

    def use_agent(self, account: Account) -> None:
        """Put a certificate and its key where the configuration has the agent's."""
        shutil.copy(account.certificate, self.folder / "agent.pem")
        shutil.copy(account.key, self.folder / "agent-key.pem")

    def label(self, name: str, profile: str, ca: str = "dogtag") -> str:
        """A label, to be put at the end of a configuration."""
        return f'\n[[est.label]]\nname = "{name}"\nca_id = "{ca}"\ndogtag_profile = "{profile}"\n'

    def without_label(self, name: str, text: str | None = None) -> str:
        """The configuration without a label."""
        table = re.compile(rf'\[\[est\.label\]\]\nname = "{name}"\n(?:\w.*\n)+')
        text, number = table.subn("", text or self.text)
        assert number == 1
        return text

    def group(self, clone_url: str) -> str:
        """Tables for another CA, "clone", and a group of the two, "both", in which it is the first."""
        (table,) = re.findall(r"^\[\[ca\]\]\n(?:\w.+\n|\n(?!\[))+", self.text, re.MULTILINE)
        clone = re.sub(r'url = ".*"', f'url = "{clone_url}"', table.replace('id = "dogtag"', 'id = "clone"'))
        return clone + '[ha]\nenabled = true\n[[ha.group]]\nname = "both"\nca_ids = ["clone", "dogtag"]\n'

    def with_crl(self, crl: x509.CertificateRevocationList) -> str:
        """The configuration with a CRL of the lab's CA; the makers of the devices then need one too."""
        lists = {"lab-crl.pem": crl, "maker-crl.pem": self._site.maker.crl()}
        for name, each in lists.items():
            (self.folder / name).write_bytes(each.public_bytes(pki.serialization.Encoding.PEM))
        return self.text.replace("[tls.client_auth]", f"[tls.client_auth]\ncrl = {json.dumps(list(lists))}")

    def reload(self, text: str | None = None, *, well: bool = True) -> None:
        """Write a configuration, send SIGHUP and wait for what comes of it."""
        self.write(text or self.text)
        self.daemon.reload(well=well)

    def write(self, text: str) -> None:
        """Put a configuration in the place of the other, whole."""
        (self.folder / "next.toml").write_text(text)
        (self.folder / "next.toml").replace(self._site.config)

    def hup(self) -> None:
        """Send SIGHUP."""
        self.daemon.signal(signal.SIGHUP)

    def said(self, words: str) -> int:
        """How often the log says so."""
        return self.daemon.log_text().count(words)

    def device(self, key: pki.PrivateKey | None = None) -> Device:
        """Return a new device that shows its maker's certificate."""
        number = next(self._numbers)
        birth = self._site.maker.client(f"CN=serial {number}").write(self.folder, f"birth-{number}")
        subject = f"CN={self.name}-{number}.kipuka.test"
        return Device(self._site.port, self._site.trust, subject, files=birth, key=key, patience=180)

    def holder(self, device: Device, certificate: x509.Certificate) -> Device:
        """The same device, showing the certificate that was issued to it."""
        files = pki.Identity(certificate, device.key).write(self.folder, f"holder-{next(self._numbers)}")
        subject = certificate.subject.rfc4514_string()
        return Device(self._site.port, self._site.trust, subject, files=files, key=device.key)

    def approve(self) -> None:
        """Approve all that waits of this run."""
        self.decide("approve")

    def decide(self, decision: str, notes: str = "") -> float:
        """Approve, reject or cancel all that waits of this run; return when the last was, by the monotonic clock."""
        for number in sorted(set(self.agent.pending()) - self._foreign):
            document = self.agent.review(number)
            if self.name in str(document):
                self.agent.decide(document | ({"requestNotes": notes} if notes else {}), decision)
        return time.monotonic()

    def made(self) -> list[x509.Certificate]:
        """Every certificate that the CA has made for these devices."""
        return self.agent.certificates(self.name)


@contextlib.contextmanager
def running(lab: Lab, folder: Path) -> Iterator[ChangingSite]:
    """Run kipuka; whatever was done to its configuration, it never failed in an unforeseen way."""
    site = ChangingSite(lab, folder)
    with contextlib.closing(site.agent):
        with site.daemon:
            yield site
        assert "Traceback" not in site.daemon.log_text(), site.daemon.log_tail()
