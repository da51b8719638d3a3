"""Recorded conversations with Dogtag: reading and writing the files in tests/vectors/dogtag.

# what the exchange shows
# client certificate: agent; ...
>>>>>>>> REQUEST
GET /ca/rest/info HTTP/1.1
...
<<<<<<<< RESPONSE
HTTP/1.1 200
...
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kipuka.authority.dogtag.wire import Answer

FOLDER = Path(__file__).resolve().parents[2] / "vectors" / "dogtag"

_REQUEST, _RESPONSE = ">>>>>>>> REQUEST\n", "<<<<<<<< RESPONSE\n"
_CREDENTIAL = re.compile(r"# client certificate: (\S+?);")
_BINARY = re.compile(r"\[\d+ bytes of binary, base64:\]\n")


@dataclass(frozen=True)
class Exchange:
    """One request and its answer. ``credential`` names the client certificate, "none" when there was none."""

    comment: str
    credential: str
    method: str
    path: str
    body: bytes
    answer: Answer


def read(name: str) -> list[Exchange]:
    """Return the exchanges of a file, named relative to tests/vectors/dogtag."""
    text = (FOLDER / name).read_bytes().decode()
    head, *rest = text.split(_REQUEST)
    exchanges = []
    for part in rest:
        request, _, after = part.partition(_RESPONSE)
        answer, _, comment = _split_comment(after)
        exchanges.append(_exchange(head, request, answer))
        head = comment
    return exchanges


def write(path: Path, title: str, exchanges: Iterable[Exchange]) -> None:
    """Write exchanges whose bodies are text."""
    path.write_bytes((f"# {title}\n" + "".join(map(_written, exchanges))).encode())


def _written(each: Exchange) -> str:
    request = f"{each.method} {each.path} HTTP/1.1\n\n{each.body.decode()}\n"
    answer = f"HTTP/1.1 {each.answer.status}\nContent-Type: {each.answer.content_type}\n\n{each.answer.body.decode()}\n"
    return f"\n# {each.comment}\n# client certificate: {each.credential};\n{_REQUEST}{request}{_RESPONSE}{answer}"


def _split_comment(after: str) -> tuple[str, str, str]:
    """An answer ends where the comments of the next exchange begin: an empty line, then "# "."""
    position = after.find("\n\n# ", after.find("\n\n") + 1)
    return (after, "", "") if position < 0 else (after[:position], "\n\n", after[position + 2 :])


def _exchange(head: str, request: str, answer: str) -> Exchange:
    credential = _CREDENTIAL.findall(head)
    comments = [line[2:] for line in head.splitlines() if line.startswith("# ") and not _CREDENTIAL.match(line)]
    request_head, _, request_body = request.partition("\n\n")
    answer_head, _, answer_body = answer.partition("\n\n")
    method, path, _ = request_head.split("\n")[0].split(" ")
    content_type = re.search(r"(?mi)^content-type: ?(.*)$", answer_head)
    return Exchange(
        comment=" / ".join(comments),
        credential=credential[-1] if credential else "none",
        method=method,
        path=path,
        body=_body(request_body),
        answer=Answer(
            int(answer_head.split(" ")[1].split("\n")[0]),
            content_type[1].strip() if content_type else "",
            _body(answer_body),
        ),
    )


def _body(text: str) -> bytes:
    if match := _BINARY.match(text):
        return base64.b64decode(text[match.end() :])
    return text.strip("\n").encode()
