"""strongSwan's ``pki --estca`` and ``pki --est`` (5.9.8 in Debian 12)."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509

from tests.interop import programs
from tests.interop.journey import ORGANIZATION, Device, Password, Server, certificates_of
from tests.support.pki import Files

KEYS = {"ec": ("--type", "ecdsa", "--size", "256"), "rsa": ("--type", "rsa", "--size", "2048")}
TYPES = {"ec": "ecdsa", "rsa": "rsa"}


class StrongSwan:
    """With ``--cert`` it always asks for simplereenroll, so there is no enrolling with a foreign certificate.

    It has no option for labels: a path in ``--url`` goes in front of ``/.well-known/est``. It refuses to store a
    certificate that it cannot verify, so it is given what ``--estca`` fetched.
    """

    missing = staticmethod(lambda: programs.missing({"pki": "strongswan-pki"}))
    enrolls_with_certificate = False

    def __init__(self, server: Server, folder: Path) -> None:
        self._server = server
        self._folder = folder

    def ca_certificates(self) -> tuple[x509.Certificate, ...]:
        out = ("--caout", self._folder / "cacert.pem", "--outform", "pem", "--force")
        programs.run("pki", "--estca", "--url", self._url(), "--cacert", self._server.trust, *out)
        return tuple(each for file in self._fetched() for each in certificates_of(file))

    def enroll(self, device: Device, credential: Password | Files) -> Files:
        assert isinstance(credential, Password), "pki --est --cert is simplereenroll"
        return self._enroll("new", device, "--userpass", f"{credential.user}:{credential.secret}")

    def renew(self, device: Device, old: Files) -> Files:
        return self._enroll("renewed", device, "--cert", old.certificate, "--key", old.key)

    def _enroll(self, stem: str, device: Device, *credential: str | Path) -> Files:
        new = Files(self._folder / f"{stem}.pem", self._folder / f"{stem}-key.pem")
        new.key.write_bytes(programs.run("pki", "--gen", *KEYS[device.key_type], "--outform", "pem"))
        names = ("--dn", f"O={ORGANIZATION}, CN={device.name}", "--san", device.name)
        request = programs.run("pki", "--req", "--type", TYPES[device.key_type], "--in", new.key, *names)
        trust = [word for file in (self._server.trust, *self._fetched()) for word in ("--cacert", file)]
        enroll = ("pki", "--est", "--url", self._url(), *trust, *credential, "--outform", "pem")
        new.certificate.write_bytes(programs.run(*enroll, stdin=request))
        return new

    def _url(self) -> str:
        label = f"/{self._server.label}" if self._server.label else ""
        return f"https://{self._server.authority}{label}"

    def _fetched(self) -> list[Path]:
        """One file for each certificate: cacert.pem and cacert-1.pem and so on."""
        return sorted(self._folder.glob("cacert*.pem"))
