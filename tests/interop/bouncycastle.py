"""Bouncy Castle's EST client (1.72 in Debian 12), by way of java/EstClient.java."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from cryptography import x509

from tests.interop import programs
from tests.interop.journey import ORGANIZATION, Device, Password, Server, certificates_of
from tests.support.pki import Files

SOURCE = Path(__file__).with_name("java") / "EstClient.java"
JARS = tuple(Path("/usr/share/java") / f"{name}.jar" for name in ("bcpkix", "bcprov", "bcutil"))


@functools.cache
def _classes() -> tempfile.TemporaryDirectory[str]:
    """Compile once; the folder goes away with the process."""
    folder = tempfile.TemporaryDirectory(prefix="kipuka-interop-")
    programs.run("javac", "-d", folder.name, "-cp", _path(*JARS), SOURCE)
    return folder


def _path(*parts: str | Path) -> str:
    return ":".join(map(str, parts))


class BouncyCastle:
    """Makes its keys and CSRs itself, and sends a password only after a 401 asked for it."""

    missing = staticmethod(
        lambda: programs.missing(
            {"java": "default-jdk-headless", "javac": "default-jdk-headless"}, dict.fromkeys(JARS, "libbcpkix-java")
        )
    )
    enrolls_with_certificate = True

    def __init__(self, server: Server, folder: Path) -> None:
        self._server = server
        self._folder = folder

    def ca_certificates(self) -> tuple[x509.Certificate, ...]:
        file = self._folder / "cacerts.pem"
        self._run("cacerts", "--out", file)
        return certificates_of(file)

    def enroll(self, device: Device, credential: Password | Files) -> Files:
        return self._enroll("enroll", device, credential)

    def renew(self, device: Device, old: Files) -> Files:
        return self._enroll("reenroll", device, old)

    def _enroll(self, command: str, device: Device, credential: Password | Files) -> Files:
        new = Files(self._folder / f"{command}.pem", self._folder / f"{command}-key.pem")
        names = ("--subject", f"O={ORGANIZATION},CN={device.name}", "--dns", device.name)
        key = ("--key-type", device.key_type, "--new-key", new.key)
        if isinstance(credential, Password):
            who: tuple[str | Path, ...] = ("--user", credential.user, "--password", credential.secret)
        else:
            who = ("--cert", credential.certificate, "--key", credential.key)
        self._run(command, *names, *key, *who, "--out", new.certificate)
        return new

    def _run(self, command: str, *arguments: str | Path) -> None:
        java = ("java", "-XX:TieredStopAtLevel=1", "-cp", _path(_classes().name, *JARS), "EstClient", command)
        where = ("--server", self._server.authority, "--trust", self._server.trust)
        label = ("--label", self._server.label) if self._server.label else ()
        programs.run(*java, *where, *label, *arguments)
