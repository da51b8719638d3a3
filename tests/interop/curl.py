"""curl and openssl: EST by hand."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509

from tests.interop import programs
from tests.interop.journey import ORGANIZATION, Device, Password, Server, certificates_of
from tests.support.pki import Files

KEYS = {
    "ec": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "rsa": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
}


class Curl:
    """The commands an administrator types.

    ``openssl base64 -d`` is OpenSSL's base64 filter with line ends expected, the one libest decodes with: it yields
    nothing for one long line (libest's issues 100, 114 and 120), so this is also a check of what libest would see.
    """

    missing = staticmethod(lambda: programs.missing({"curl": "curl", "openssl": "openssl"}))
    enrolls_with_certificate = True

    def __init__(self, server: Server, folder: Path) -> None:
        self._server = server
        self._folder = folder

    def ca_certificates(self) -> tuple[x509.Certificate, ...]:
        self._store(self._call("cacerts"), "cacerts.pem")
        return certificates_of(self._folder / "cacerts.pem")

    def enroll(self, device: Device, credential: Password | Files) -> Files:
        return self._enroll("simpleenroll", device, credential)

    def renew(self, device: Device, old: Files) -> Files:
        return self._enroll("simplereenroll", device, old)

    def _enroll(self, operation: str, device: Device, credential: Password | Files) -> Files:
        new = Files(self._folder / f"{operation}.pem", self._folder / f"{operation}-key.pem")
        programs.run("openssl", "genpkey", *KEYS[device.key_type], "-out", new.key)
        subject = f"/O={ORGANIZATION}/CN={device.name}"
        alternative = f"subjectAltName=DNS:{device.name}"
        make = ("openssl", "req", "-new", "-subj", subject, "-addext", alternative, "-outform", "DER")
        body = programs.run("openssl", "base64", stdin=programs.run(*make, "-key", new.key))
        if isinstance(credential, Password):
            who: tuple[str | Path, ...] = ("--user", f"{credential.user}:{credential.secret}")
        else:
            who = ("--cert", credential.certificate, "--key", credential.key)
        post = ("--header", "Content-Type: application/pkcs10", "--data-binary", "@-")
        self._store(self._call(operation, *who, *post, stdin=body), new.certificate.name)
        return new

    def _call(self, operation: str, *arguments: str | Path, stdin: bytes = b"") -> bytes:
        label = f"/{self._server.label}" if self._server.label else ""
        url = f"https://{self._server.authority}/.well-known/est{label}/{operation}"
        common = ("--fail-with-body", "--silent", "--show-error", "--cacert", self._server.trust)
        return programs.run("curl", *common, *arguments, url, stdin=stdin)

    def _store(self, body: bytes, name: str) -> None:
        der = programs.run("openssl", "base64", "-d", stdin=body)
        unpack = ("openssl", "pkcs7", "-inform", "DER", "-print_certs", "-out", self._folder / name)
        programs.run(*unpack, stdin=der)
