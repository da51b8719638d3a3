"""Records how the lab's Dogtag lists, shows and loses requests. Kills its LDAP server: nothing else may use the lab.

``python -m tests.dogtag.record_requests EXPORT_DIR`` writes 26-requests.txt, 35-cert-search.txt and
66-requests-ds-down.txt into tests/vectors/dogtag/10.10.2. 36-profile-deleted.txt was recorded by hand.
"""

from __future__ import annotations

import base64
import json
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kipuka.authority.dogtag.wire import Answer
from tests.dogtag import lab_control
from tests.dogtag.lab import record
from tests.support import pki
from tests.support.dogtag import transcript

REQUESTS = "/ca/rest/agent/certrequests"
NOTES = "Serial number is not in the asset list;\nask in room 12 \u2603"


class Recorder:
    """Calls the CA, one connection for each call, and notes what is said under the current comment."""

    def __init__(self, export: Path) -> None:
        env = dict(line.split("=", 1) for line in (export / "env").read_text().split())
        self._address = urlsplit(env["DOGTAG_URL"])
        self._contexts: dict[str, ssl.SSLContext] = {}
        for account in ("none", "agent"):
            context = ssl.create_default_context(cafile=export / "ca-chain.pem")
            if account != "none":
                context.load_cert_chain(export / f"{account}.pem", export / f"{account}-key.pem")
            self._contexts[account] = context
        self.comment = ""
        self.exchanges: list[transcript.Exchange] = []
        self._cookie = ""

    def __call__(
        self, method: str, path: str, body: object = None, account: str = "agent", *, note: bool = True
    ) -> Any:
        data = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._address.netloc}", "Accept: application/json"]
        lines += [f"Cookie: {self._cookie}"] if self._cookie else []
        lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"] if data else []
        raw = "\r\n".join([*lines, "Connection: close", "", ""]).encode() + data
        host, port = self._address.hostname or "", self._address.port or 443
        head, answered = record.exchange(host, port, self._contexts[account], raw)
        fields = dict(line.partition(": ")[::2] for line in head.splitlines()[1:])
        self._cookie = fields.get("Set-Cookie", self._cookie).partition(";")[0]
        answer = Answer(int(head.split()[1]), fields.get("Content-Type", ""), answered)
        if note:
            self.exchanges.append(transcript.Exchange(self.comment, account, method, path, data, answer))
        return json.loads(answered) if answer.is_json and answered else answered

    def enroll(self, csr: x509.CertificateSigningRequest, profile: str) -> str:
        """Submit, unnoted, and return the request's number."""
        values = {
            "cert_request_type": "pkcs10",
            "cert_request": base64.b64encode(csr.public_bytes(Encoding.DER)).decode(),
        }
        fields = [{"name": name, "Value": value} for name, value in values.items()]
        body = {"ProfileID": profile, "Renewal": False, "Input": [{"id": "i1", "Attribute": fields}]}
        answer = self("POST", "/ca/rest/certrequests", body, note=False)
        return str(answer["entries"][0]["requestURL"].rpartition("/")[2])

    def write(self, name: str, title: str) -> None:
        transcript.write(transcript.FOLDER / "10.10.2" / name, title, self.exchanges)
        self.exchanges.clear()


def ends(ca: Recorder) -> None:
    for decision in ("reject", "cancel"):
        for notes in (NOTES, ""):
            ca.comment = f"{decision}, {'with' if notes else 'without'} notes of the agent"
            number = ca.enroll(pki.csr(pki.ec_key(), f"CN={decision}.kipuka.test"), "kipukaServerManual")
            document = ca("GET", f"{REQUESTS}/{number}", note=False)
            if notes:
                document["requestNotes"] = notes
            ca("POST", f"{REQUESTS}/{number}/{decision}", document, note=False)
            ca("GET", f"/ca/rest/certrequests/{number}", account="none")
            ca("GET", f"{REQUESTS}/{number}")
    ca.comment = "refused by the profile's policy"
    number = ca.enroll(pki.csr(pki.rsa_key(1024), "CN=short.kipuka.test"), "kipukaServerManual")
    ca("GET", f"/ca/rest/certrequests/{number}", account="none")
    ca("GET", f"{REQUESTS}/{number}")
    ca.comment = "pending, and cut short by maxResults without a word"
    for _ in range(3):
        ca.enroll(pki.csr(pki.ec_key(), "CN=pending.kipuka.test"), "kipukaServerManual")
    ca("GET", f"{REQUESTS}?requestState=pending&requestType=enrollment&maxResults=2")
    ca.comment = "unknown"
    ca("GET", f"{REQUESTS}/99999999")
    ca.write("26-requests.txt", "Requests: how they end, what agents note, lists")


def searches(ca: Recorder) -> None:
    for _ in range(2):
        ca.enroll(pki.csr(pki.ec_key(), "CN=search \\\\ (1)*\u2603,O=KIPUKA"), "kipukaServer")
    search = {"subjectInUse": True, "commonName": "search \\ (1)*\u2603", "matchExactly": True}
    ca.comment = "by common name"
    entries = ca("POST", "/ca/rest/certs/search?start=0&size=500", search, "none")["entries"]
    ca.comment = "from the second in which the last was issued: inclusive"
    since = {"issuedOnInUse": True, "issuedOnFrom": entries[-1]["IssuedOn"]}
    ca("POST", "/ca/rest/certs/search?start=0&size=500", search | since, "none")
    ca.comment = "none later"
    since["issuedOnFrom"] = str(int(entries[-1]["IssuedOn"]) + 1000)
    ca("POST", "/ca/rest/certs/search?start=0&size=500", search | since, "none")
    ca.comment = "a page"
    ca("POST", "/ca/rest/certs/search?start=1&size=1", search, "none")
    ca.write("35-cert-search.txt", "Searching certificates")


def ldap_dies(ca: Recorder, export: Path) -> None:
    pending = ca.enroll(pki.csr(pki.ec_key(), "CN=before.kipuka.test"), "kipukaServerManual")
    threads = [threading.Thread(target=burst, args=(Recorder(export),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    lab_control.kill("ds")
    for thread in threads:
        thread.join()
    ca.comment = "LDAP is down"
    ca("GET", f"{REQUESTS}?requestState=pending&requestType=enrollment&maxResults=2")
    ca("GET", f"{REQUESTS}/{pending}")
    ca("GET", f"/ca/rest/certrequests/{pending}", account="none")
    ca("POST", "/ca/rest/certs/search?start=0&size=500", {"issuedOnInUse": True, "issuedOnFrom": "0"}, "none")
    time.sleep(2)  # until the killed one is quite gone
    lab_control.start()
    ca.comment = "LDAP is back: what was in hand when it died stays in this state"
    entries = ca("GET", f"{REQUESTS}?requestState=begin&requestType=enrollment&maxResults=3")["entries"]
    number = entries[0]["requestURL"].rpartition("/")[2]
    ca("GET", f"/ca/rest/certrequests/{number}", account="none")
    ca("GET", f"{REQUESTS}/{number}")
    ca.write("66-requests-ds-down.txt", "Requests while 389-ds is dead, and those it left behind")


def burst(ca: Recorder) -> None:
    for _ in range(20):
        try:
            ca.enroll(pki.csr(pki.ec_key(), "CN=burst.kipuka.test"), "kipukaServer")
        except (OSError, KeyError):
            return


def main() -> None:
    export = Path(sys.argv[1])
    ca = Recorder(export)
    ends(ca)
    searches(ca)
    ldap_dies(ca, export)


if __name__ == "__main__":
    main()
