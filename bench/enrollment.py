"""Enrollments through kipuka, and side by side through kipuka and straight at the same Dogtag.

Every figure against Dogtag is a ratio or a difference of two measurements made in turn in one run: this machine's
speed, and Dogtag's, vary too much from run to run for anything else.
"""

from __future__ import annotations

import http.client
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import clients, cores
from tests.dogtag import lab_export
from tests.dogtag.lab_export import Lab
from tests.support import pki
from tests.support.daemon import Daemon, free_port

ROUNDS = 5
Connect = Callable[[], http.client.HTTPSConnection]
PARALLEL = 8


def main() -> None:
    """Run what can be run here."""
    with tempfile.TemporaryDirectory(prefix="kipuka-bench-") as folder:
        local(Path(folder))
    try:
        lab = lab_export.read()
    except LookupError as missing:
        sys.exit(f"{missing}, so nothing was compared with it: tests/dogtag/lab/lab up")
    with tempfile.TemporaryDirectory(prefix="kipuka-bench-") as folder:
        dogtag(Path(folder), lab)


def local(folder: Path) -> None:
    """Measure the local CA: one TLS 1.3 connection and eight, kept alive, client certificate, EC keys."""
    site = local_site(folder)
    with Daemon(site.config) as daemon:
        connect = site.connector(daemon.port)
        milliseconds = clients.latency(connect, clients.over_est(), clients.csrs(300))
        each_second = clients.rate(connect, clients.over_est(), clients.csrs(800), PARALLEL)
    print(f"local CA, one connection kept alive      {milliseconds:8.2f} ms median of 299")
    print(f"local CA, {PARALLEL} connections kept alive       {each_second:8.1f} enrollments/s, clients included")


@dataclass(frozen=True)
class LocalSite:
    """A configuration with a local CA, which also certified the device."""

    config: Path
    anchors: Path
    device: pki.Files

    def connector(self, port: int) -> Connect:
        """Return what opens a TLS connection as the device."""
        url = f"https://localhost:{port}"
        return clients.connector(url, self.anchors, self.device.certificate, self.device.key)


def local_site(folder: Path) -> LocalSite:
    """Make the CA, the device and the configuration; the server's certificate is in ``server.pem``."""
    root = pki.root("CN=Bench CA")
    files = root.write(folder, "ca")
    device = root.client("CN=bench").write(folder, "device")
    ca = f'id = "local"\ncert = "{files.certificate}"\nkey = "{files.key}"\n'
    return LocalSite(_configuration(folder, root, files.certificate, ca), files.certificate, device)


def dogtag(folder: Path, lab: Lab) -> None:
    """Compare kipuka with the Dogtag behind it: profile kipukaServer, EC keys, connections kept alive."""
    root = pki.root("CN=Bench CA")
    files = root.write(folder, "ca")
    device = root.client("CN=bench").write(folder, "device")
    ca = (
        f'id = "dogtag"\ntype = "dogtag"\nurl = "{lab.url}"\nprofile = "kipukaServer"\nca_cert = "{lab.ca_chain}"\n'
        f'agent_cert = "{lab.agent.certificate}"\nagent_key = "{lab.agent.key}"\n'
    )
    with Daemon(_configuration(folder, root, files.certificate, ca)) as daemon:
        through = clients.connector(_url(daemon), files.certificate, device.certificate, device.key)
        straight = clients.connector(lab.url, lab.ca_chain, lab.agent.certificate, lab.agent.key)
        est, rest = clients.over_est(), clients.at_dogtag("kipukaServer")
        for warm_up in (
            lambda: clients.rate(straight, rest, clients.csrs(40), PARALLEL),
            lambda: clients.rate(through, est, clients.csrs(40), PARALLEL),
        ):
            warm_up()
        _compare(through, straight, "on the same cores")
        with cores.apart(daemon.process.pid) as are_apart:
            if are_apart:
                _compare(through, straight, "Dogtag on a core of its own")


def _compare(through: Connect, straight: Connect, where: str) -> None:
    est, rest = clients.over_est(), clients.at_dogtag("kipukaServer")
    ratios, added = [], []
    for number in range(1, ROUNDS + 1):
        direct = clients.rate(straight, rest, clients.csrs(80), PARALLEL)
        proxied = clients.rate(through, est, clients.csrs(80), PARALLEL)
        ratios.append(proxied / direct)
        direct_ms = clients.latency(straight, rest, clients.csrs(30))
        proxied_ms = clients.latency(through, est, clients.csrs(30))
        added.append(proxied_ms - direct_ms)
        print(
            f"{where}, round {number}: {PARALLEL} in parallel {direct:6.2f}/s straight, {proxied:6.2f}/s through "
            f"kipuka; one after the other {direct_ms:6.1f} ms straight, {proxied_ms:6.1f} ms through kipuka",
            flush=True,
        )
    print(
        f"{where}: enrollments/s through kipuka over straight: median {median(ratios):.2f} ({_range(ratios)}) [>= 1.0]"
    )
    print(f"{where}: latency kipuka adds to one enrollment: median {median(added):.1f} ms ({_range(added)}) [<= 5 ms]")


def _range(figures: list[float]) -> str:
    return f"{min(figures):.2f} to {max(figures):.2f}"


def _url(daemon: Daemon) -> str:
    return f"https://localhost:{daemon.port}"


def _configuration(folder: Path, root: pki.Issuer, anchors: Path, ca: str) -> Path:
    server = root.server().write(folder, "server")
    file = folder / "kipuka.toml"
    file.write_text(
        f'[server]\nlisten = "127.0.0.1:{free_port()}"\n'
        f'[tls]\ncert = "{server.certificate}"\nkey = "{server.key}"\n'
        f'[tls.client_auth]\ntrust_anchors = "{anchors}"\n[[ca]]\n{ca}[est]\nserverkeygen = false\n'
    )
    return file


if __name__ == "__main__":
    main()
