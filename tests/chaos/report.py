"""The result of a run as text."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from tests.chaos.clients import Result
from tests.chaos.proxy import Proxy
from tests.chaos.schedule import Action, Direction, Schedule, Victim
from tests.chaos.verify import Finding, Verdict

_MOST_FINDINGS = 20


@dataclasses.dataclass(frozen=True)
class Run:
    """Everything a report is made of."""

    schedule: Schedule
    results: Sequence[Result]
    verdict: Verdict
    kills: Counter[Victim]
    proxies: dict[str, Proxy]
    decisions: Counter[str]
    seconds: float
    tracebacks: int
    """In the daemon's log."""

    @property
    def good(self) -> bool:
        """Whether the verdict is good, and kipuka met nothing that it did not foresee."""
        return self.verdict.good and not self.tracebacks


def table(run: Run) -> str:
    """Return the table, the findings, and how to repeat the run."""
    verdict, results = run.verdict, run.results
    slowest = max(results, key=lambda each: each.seconds)
    operations = Counter(each.operation for each in results)
    rows: list[tuple[str, object]] = [
        ("seed", run.schedule.seed),
        ("enrollments", operations["simpleenroll"]),
        ("re-enrollments", operations["simplereenroll"]),
        ("certificates at the CA", verdict.issued),
        ("certificates at the clients", verdict.held),
        ("refused by the agent", verdict.refused),
        ("LOST", _sum(verdict.lost)),
        ("DOUBLED", _sum(verdict.doubled)),
        ("  of them issued at once", _sum(_at_once(verdict.doubled, run.schedule))),
        ("WRONG", _sum(verdict.wrong)),
        ("attempts", sum(each.attempts for each in results)),
        ("  retries", sum(each.attempts - 1 for each in results)),
        ("  without a complete answer", sum(each.failures for each in results)),
        ("most attempts of one request", max(each.attempts for each in results)),
        ("slowest request", f"{slowest.seconds:.1f} s (device-{slowest.number}, {slowest.operation})"),
        ("median request", f"{_median([each.seconds for each in results]):.1f} s"),
        *((f"kills of {each.value}", f"{run.kills[each]} of {number}") for each, number in _planned(run.schedule)),
        *(row for name, proxy in run.proxies.items() for row in _traffic(name, proxy)),
        ("approved, rejected", f"{run.decisions['approve']}, {run.decisions['reject']}"),
        ("tracebacks in kipuka's log", run.tracebacks),
        ("time", f"{run.seconds:.0f} s"),
    ]
    width = max(len(name) for name, _ in rows)
    lines = [f"  {name:{width}}  {value}" for name, value in rows]
    for title, findings in (("LOST", verdict.lost), ("DOUBLED", verdict.doubled), ("WRONG", verdict.wrong)):
        lines += _listed(title, findings)
    if run.tracebacks:
        lines.append(f"UNFORESEEN: {run.tracebacks} tracebacks in kipuka's log")
    lines.append("GOOD: exactly one certificate for each request" if run.good else "BAD")
    return "\n".join(lines)


def _planned(schedule: Schedule) -> list[tuple[Victim, int]]:
    planned = Counter(each.victim for each in schedule.kills)
    planned.update(each.victim for each in schedule.kills if each.again is not None)
    planned.update(each.also for each in schedule.kills if each.also is not None)
    return [(each, planned[each]) for each in Victim if planned[each]]


def _traffic(name: str, proxy: Proxy) -> list[tuple[str, object]]:
    up, down = proxy.bytes[Direction.UP], proxy.bytes[Direction.DOWN]
    actions = proxy.actions
    return [
        (f"connections {name}", f"{proxy.connections}, {up // 1024} KiB up, {down // 1024} KiB down"),
        ("  cut", f"{proxy.cuts} ({actions[Action.FIN]} FIN, {actions[Action.RESET]} RST)"),
        ("  stalled", actions[Action.STALL]),
        ("  nobody listening", proxy.unreachable),
    ]


def _listed(title: str, findings: Sequence[Finding]) -> list[str]:
    lines = [
        f"{title}: {'' if each.number is None else f'device-{each.number}: '}{each.text}"
        for each in findings[:_MOST_FINDINGS]
    ]
    if len(findings) > _MOST_FINDINGS:
        lines.append(f"{title}: and {len(findings) - _MOST_FINDINGS} more")
    return lines


def _sum(findings: Sequence[Finding]) -> int:
    return sum(each.certificates for each in findings)


def _at_once(findings: Sequence[Finding], schedule: Schedule) -> list[Finding]:
    """Leave out the clients whose requests wait for the agent."""
    return [each for each in findings if each.number is not None and not schedule.plans[each.number].manual]


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
