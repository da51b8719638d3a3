"""docs/troubleshooting.md knows every text that a client can get, and every reason why the daemon does not start.

The texts are read out of the source: the literals that reach a constructor of an error (or ``web.answers.text``), on
their way through variables, helper functions and their return values.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "troubleshooting.md"

SINKS = {
    "RequestError": 1,
    "AuthorityError": 1,
    "text": 1,
    "error": 2,
    "Nothing": 0,
    "MaterialError": 0,
    "WrongPassphraseError": 0,
    "SecretError": 0,
    "CannotListen": 0,
    "StoreUnavailable": 0,
    "UnusableDatabase": 0,
    "describe": 0,
}
"""What is called with a text for somebody: the position of the text among its arguments."""
TABLES = {"_TEXTS"}
"""Dictionaries whose values are such texts."""
OF_WEB = {"text", "error"}
"""Those that mean something else outside of web."""
OF_STORE = {"describe"}
"""Likewise, of the store."""
YIELDING = {ROOT / "kipuka" / "config" / "certificates.py", ROOT / "kipuka" / "tls" / "trial.py"}
"""Where the texts are yielded."""

HOLE = "\0"

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Module:
    """One source file, with every text in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tree = ast.parse(path.read_text("utf-8"))
        self.functions = {node.name: node for node in ast.walk(self.tree) if isinstance(node, Function)}
        is_web = "web" in path.relative_to(ROOT).parts
        is_store = "store" in path.relative_to(ROOT).parts
        elsewhere = (set() if is_web else OF_WEB) | (set() if is_store else OF_STORE)
        self.sinks = {name: position for name, position in SINKS.items() if name not in elsewhere}
        self.forwarded: dict[str, set[str]] = {}

    def texts(self) -> Iterator[str]:
        """Every text, placeholders as HOLE."""
        expressions = [*self._arguments(), *self._tables()]
        if self.path in YIELDING:
            expressions += [n.value for n in ast.walk(self.tree) if isinstance(n, ast.Yield) and n.value is not None]
        done: set[int] = set()
        while expressions:
            expression = expressions.pop()
            if id(expression) in done:
                continue
            done.add(id(expression))
            yield from self._literal(expression)
            expressions += self._behind(expression)

    def _arguments(self) -> Iterator[ast.expr]:
        for call in self._calls():
            name, position = _name(call), self.sinks.get(_name(call))
            if position is not None and len(call.args) > position:
                yield call.args[position]
            yield from (self._given(call, self.functions[name]) if name in self.functions else ())

    def _given(self, call: ast.Call, function: Function) -> Iterator[ast.expr]:
        """The arguments of a call that the function passes on as texts."""
        names = [argument.arg for argument in function.args.args]
        passed = self._passed_on(function.name, frozenset())
        for name, value in [*zip(names, call.args, strict=False), *((k.arg, k.value) for k in call.keywords)]:
            if name in passed:
                yield value

    def _passed_on(self, name: str, seen: frozenset[str]) -> set[str]:
        """The parameters of a function that become texts."""
        if name in self.forwarded or name in seen:
            return self.forwarded.get(name, set())
        function = self.functions[name]
        parameters = {argument.arg for argument in function.args.args}
        found: set[str] = set()
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            position, callee = self.sinks.get(_name(call)), self.functions.get(_name(call))
            if position is not None and len(call.args) > position:
                found |= _names(call.args[position]) & parameters
            elif callee is not None:
                passed = self._passed_on(callee.name, seen | {name})
                for argument, value in zip(callee.args.args, call.args, strict=False):
                    if argument.arg in passed:
                        found |= _names(value) & parameters
        self.forwarded[name] = found
        return found

    def _behind(self, expression: ast.expr) -> Iterator[ast.expr]:
        """What the names and calls in an expression stand for in this module."""
        names = _names(expression)
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    yield from (value for name, value in _pairs(target, node.value) if name in names)
        for call in (node for node in ast.walk(expression) if isinstance(node, ast.Call)):
            if function := self.functions.get(_name(call)):
                yield from (n.value for n in ast.walk(function) if isinstance(n, ast.Return) and n.value is not None)

    def _calls(self) -> Iterator[ast.Call]:
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.Call))

    def _tables(self) -> Iterator[ast.expr]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and _names(node.targets[0]) & TABLES:
                yield from node.value.values

    def _literal(self, expression: ast.expr) -> Iterator[str]:
        match expression:
            case ast.Constant(value=str(value)):
                yield value
            case ast.JoinedStr():
                yield "".join(p.value if isinstance(p, ast.Constant) else HOLE for p in expression.values)
            case ast.BinOp(op=ast.Add(), left=left, right=right):
                yield from self._literal(left)
                yield from self._literal(right)
            case ast.IfExp(body=body, orelse=orelse):
                yield from self._literal(body)
                yield from self._literal(orelse)


def _name(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _names(expression: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for each, its in zip(target.elts, value.elts, strict=False):
            yield from _pairs(each, its)
    elif isinstance(target, ast.Name):
        yield target.id, value


def pattern(text: str) -> str:
    """What is wrong, without the advice after the colon; as a regular expression, anything in place of placeholders."""
    head = re.split(r"[:;](?: |\0|$)", text, maxsplit=1)[0]
    words = head if len(head.replace(HOLE, "").split()) >= 3 else text
    return ".{1,90}?".join(re.escape(" ".join(piece.split())) for piece in re.split(r" ?\0 ?", words.strip(" .")))


def collected() -> dict[str, str]:
    """Each text and the file it stands in."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "kipuka").rglob("*.py")):
        for text in Module(path).texts():
            # Neither one of the words that are put into a text nor a statement of SQL behind one.
            if len(text.replace(HOLE, "").split()) >= 2 and not text.startswith("\n"):
                found.setdefault(text, str(path.relative_to(ROOT)))
    return found


TEXTS = collected()


def known() -> str:
    return " ".join(DOCUMENT.read_text("utf-8").split())


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: f"{TEXTS[text]}: {text[:40]!r}")
def test_the_text_is_explained(text: str) -> None:
    assert re.search(pattern(text), known()), text.replace(HOLE, "…")


def test_the_search_finds_texts_by_every_way() -> None:
    """One text for each way a text goes through the source; were one no longer found, the test above would be idle."""
    for each in (
        "The certificate request is too large",  # text()
        "The CA did not answer: try again later.",  # a table
        "The body is binary DER, base64 expected: encode it with base64.",  # returned by a function
        "The attributes of the request cannot be read",  # through a context manager and a helper
        "keyCertSign and cRLSign are for CAs",  # an argument put into another text
        "The signature of the certificate request is not good",  # a constant
        "cannot listen on",  # of the daemon's start
        "no connection was free",  # of the database, through a method
        "expired on",  # yielded
        "This is for administrators",  # of the admin API
        "The admin API is off",  # Nothing()
    ):
        assert any(each in text.replace(HOLE, "…") for text in TEXTS), each
    assert len(TEXTS) > 100
