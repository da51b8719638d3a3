"""What a device costs that connects, enrolls and leaves: kipuka's CPU time over nginx's, side by side.

    python -m bench.handshakes

Each request is a full handshake of TLS 1.3 with client certificates. kipuka (the local CA, EC keys, the ledger in
SQLite) issues a certificate; nginx, one worker, serves a file as long as kipuka's answer. Clients are not counted.
The aim is in brackets.
"""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from bench import clients
from bench.enrollment import local_site
from tests.support.daemon import Daemon, free_port

REQUESTS = 200
ROUNDS = 5
_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure both in turn."""
    if shutil.which("nginx") is None:
        sys.exit("nginx is not installed, so kipuka was not compared with it: scripts/packages nginx-light")
    with tempfile.TemporaryDirectory(prefix="kipuka-bench-") as name:
        folder = Path(name)
        site = local_site(folder)
        with Daemon(site.config) as daemon:
            connect = site.connector(daemon.port)
            body = _enrolled(connect(), clients.csrs(1)[0])
            with _nginx(folder, site.anchors, len(body)) as (port, worker):
                ratios = _compare(site.connector(port), worker, connect, daemon.process.pid)
    print(f"CPU of a connection that enrolls over nginx's of a static answer: median {median(ratios):.2f} [<= 2.0]")


def _compare(
    to_nginx: Callable[[], http.client.HTTPSConnection],
    worker: int,
    to_kipuka: Callable[[], http.client.HTTPSConnection],
    daemon: int,
) -> list[float]:
    ratios = []
    for number in range(1, ROUNDS + 1):
        static = _cpu_of(worker, lambda: _fetch(to_nginx()))
        requests = iter(clients.csrs(REQUESTS))
        enrolling = _cpu_of(daemon, lambda waiting=requests: _enrolled(to_kipuka(), next(waiting)))
        ratios.append(enrolling / static)
        print(f"round {number}: nginx {static:.2f} ms, kipuka {enrolling:.2f} ms of CPU for each", flush=True)
    return ratios


def _cpu_of(process: int, request: Callable[[], object]) -> float:
    """CPU milliseconds of a process for each of the requests."""
    before = _cpu_seconds(process)
    for _ in range(REQUESTS):
        request()
    time.sleep(0.5)  # what follows an answer is counted too
    return (_cpu_seconds(process) - before) / REQUESTS * 1000


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _enrolled(connection: http.client.HTTPSConnection, csr: bytes) -> bytes:
    body = clients.over_est()(connection, csr)
    connection.close()
    return body


def _fetch(connection: http.client.HTTPSConnection) -> None:
    connection.request("GET", "/answer")
    clients.body_of(connection)
    connection.close()


@contextmanager
def _nginx(folder: Path, anchors: Path, size: int) -> Iterator[tuple[int, int]]:
    """Run it; its port, and the process id of its one worker."""
    port = free_port()
    (folder / "www").mkdir()
    (folder / "www/answer").write_bytes(b"x" * size)
    config = folder / "nginx.conf"
    config.write_text(f"""
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log; user root;
events {{}}
http {{
  access_log {folder}/access.log;
  server {{
    listen 127.0.0.1:{port} ssl; root {folder}/www;
    ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server-key.pem; ssl_protocols TLSv1.3;
    ssl_client_certificate {anchors}; ssl_verify_client on; ssl_session_tickets off; ssl_session_cache off;
  }}
}}
""")
    with subprocess.Popen(["nginx", "-p", str(folder), "-c", str(config)]) as master:
        try:
            yield port, _child_of(master.pid)
        finally:
            master.terminate()


def _child_of(process: int) -> int:
    children = Path(f"/proc/{process}/task/{process}/children")
    for _ in range(100):
        if found := children.read_text().split():
            return int(found[0])
        time.sleep(0.05)
    raise RuntimeError("nginx has started no worker")


if __name__ == "__main__":
    main()
