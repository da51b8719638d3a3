"""The agent: after a while approves what waits in Dogtag, or rejects it, if that is the client's plan."""

from __future__ import annotations

import base64
import http.client
import re
import threading
import time
from collections import Counter, defaultdict
from typing import Any

from cryptography import x509

from tests.chaos.dogtag import Dogtag, RefusedError
from tests.chaos.journal import Journal, Progress
from tests.chaos.schedule import Plan

_INTERVAL = 0.5
_TROUBLE = (OSError, http.client.HTTPException, RefusedError)
_DRAIN_ATTEMPTS = 240


class Approver:
    """Decides every request of the run that waits; others' requests in the same Dogtag are left alone.

    :param plans: by the client's number.
    :param quiet: held while a decision is on its way. Who kills Dogtag takes it too, so that Dogtag never dies between
        issuing and noting the approval: how it copes with that is not what is tested here.
    """

    def __init__(
        self,
        dogtag: Dogtag,
        run: str,
        plans: dict[int, Plan],
        quiet: threading.Lock,
        progress: Progress,
        journal: Journal,
    ) -> None:
        self._dogtag = dogtag
        self._common_name = re.compile(re.escape(run) + r"-(\d+)\.kipuka\.test")
        self._plans = plans
        self._quiet = quiet
        self._progress = progress
        self._journal = journal
        self._foreign = set(dogtag.pending())
        self._due: dict[int, tuple[float, Plan]] = {}
        self.decisions: Counter[str] = Counter()
        self.requests: defaultdict[int, list[int]] = defaultdict(list)
        """By the client's number: the requests that were decided."""
        self._thread = threading.Thread(target=self._run, name="approver", daemon=True)

    def start(self) -> None:
        """Decide from now on."""
        self._thread.start()

    def drain(self) -> None:
        """After the run: decide at once what still waits, so that a second submission becomes a second certificate.

        :raises RuntimeError: requests of the run still wait after some time, or Dogtag does not answer.
        """
        self._thread.join()
        for _ in range(_DRAIN_ATTEMPTS):
            if self._round(hurry=True) and not self._due:
                return
            time.sleep(_INTERVAL)
        raise RuntimeError(f"the agent's last requests cannot be decided: {sorted(self._due) or 'no list of them'}")

    def _run(self) -> None:
        while self._progress.pause(_INTERVAL):
            self._round()

    def _round(self, *, hurry: bool = False) -> bool:
        """Look once and decide what is due; False when Dogtag could not be asked."""
        try:
            waiting = set(self._dogtag.pending()) - self._foreign
            for gone in self._due.keys() - waiting:
                del self._due[gone]
            for request in sorted(waiting - self._due.keys()):
                self._notice(request)
            for request, (due, plan) in sorted(self._due.items()):
                if hurry or due <= self._journal.now:
                    self._decide(request, plan)
        except _TROUBLE as trouble:
            # Dogtag is down, or the request was decided after all: the next round sees what is true then.
            self._journal.note("agent", f"{type(trouble).__name__}: {trouble}")
            return False
        return True

    def _notice(self, request: int) -> None:
        found = self._common_name.fullmatch(_common_name(self._dogtag.review(request)))
        if found is None:
            self._foreign.add(request)
            return
        plan = self._plans[int(found[1])]
        self._due[request] = (self._journal.now + plan.decision_delay, plan)
        self._journal.note("agent", f"request {request} of device-{plan.number} waits")

    def _decide(self, request: int, plan: Plan) -> None:
        decision = "reject" if plan.refused else "approve"
        with self._quiet:
            self._dogtag.decide(self._dogtag.review(request), decision)
        del self._due[request]
        self.decisions[decision] += 1
        self.requests[plan.number].append(request)
        self._journal.note("agent", f"request {request} of device-{plan.number}: {decision}")


def _common_name(document: dict[str, Any]) -> str:
    """Return the common name in the CSR of a reviewed request; empty if there is no such thing."""
    fields = {each["name"]: each["Value"] for part in document["Input"] for each in part["Attribute"]}
    try:
        request = x509.load_der_x509_csr(base64.b64decode(fields["cert_request"]))
        return str(request.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)
    except (KeyError, ValueError, IndexError):
        return ""
