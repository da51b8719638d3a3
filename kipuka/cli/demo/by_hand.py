"""The walk-through as commands of curl and openssl that can be pasted into a shell in any folder."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from shlex import join, quote

from kipuka.cli.demo.site import USER, Site
from kipuka.cli.demo.walk import DEVICE_NAME

_PROGRAMS = ("curl", "openssl")


def text(site: Site, *, once: bool) -> Iterator[str]:
    """Yield the lines to print; those that begin with four blanks are the commands.

    :param once: the demo will not be running when they are read.
    """
    yield "The same by hand, in another terminal and any folder. Copy the lines as they stand."
    if once:
        yield "The demo has to be running, which this one will not be any more; start it again with"
        words = [sys.executable, "-m", "kipuka", "demo", "--dir", str(site.folder), "--port", str(site.port)]
        yield f"  {join(words)}"
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        yield f"Not installed here: {' and '.join(missing)}. On Debian: apt-get install {' '.join(missing)}"
    for command in commands(site):
        yield from (f"    {line}" for line in command.split("\n"))


def commands(site: Site) -> Iterator[str]:
    """Yield the commands, with comments, for a POSIX shell."""
    folder = site.folder / "by-hand"
    first, first_key = quote(str(folder / "first.pem")), quote(str(folder / "first-key.pem"))
    renewed, renewed_key = quote(str(folder / "renewed.pem")), quote(str(folder / "renewed-key.pem"))
    request = quote(str(folder / "request.b64"))

    # No proxy: the daemon is on this machine. And in --cert, curl takes what follows a colon for a passphrase.
    curl = f"curl -sSf --noproxy '*' --cacert {quote(str(site.ca))} {site.base_url}"
    user = f'--user "{USER}:$(cat {quote(str(site.password))})"'
    identity = f"--cert {quote(_escaped(folder / 'first.pem'))} --key {first_key}"
    post = f"--header 'Content-Type: application/pkcs10' --data-binary @{request}"
    opened = "base64 -d | openssl pkcs7 -inform DER -print_certs"
    make_request = (
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -batch \\\n"
        f"  -subj /CN={DEVICE_NAME} -addext subjectAltName=DNS:{DEVICE_NAME} -outform DER \\\n"
        "  -keyout"
    )

    yield "# 1. the CA's certificates"
    yield f"{curl}/cacerts \\\n  | {opened}"
    yield "# 2. a key and a request"
    yield f"mkdir -p {quote(str(folder))}"
    yield f"{make_request} {first_key} \\\n  | base64 > {request}"
    yield "# 3. enroll with user name and password"
    yield f"{curl}/simpleenroll \\\n  {user} \\\n  {post} \\\n  | {opened} -out {first}"
    yield f"openssl x509 -noout -subject -serial -dates -in {first}"
    yield "# 4. renew with the first certificate, for a new key"
    yield f"{make_request} {renewed_key} \\\n  | base64 > {request}"
    yield f"{curl}/simplereenroll \\\n  {identity} \\\n  {post} \\\n  | {opened} -out {renewed}"
    yield f"openssl x509 -noout -subject -serial -dates -in {renewed}"


def _escaped(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace(":", "\\:")
