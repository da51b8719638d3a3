"""What must fit together across tables: ids that are used must exist, names must differ, keys must have an effect.

Works on the TOML document as read, whatever its shape, so that these faults are found together with all the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from kipuka.config.faults import Fault, path_of
from kipuka.config.model.ca import type_of
from kipuka.config.model.est import DEFAULT_AUTH

Table = dict[str, Any]


def faults(data: Table) -> Iterator[Fault]:
    """Find what does not fit together.

    :param data: the TOML document as read.
    """
    yield from _duplicates(data)
    yield from _references(data)
    yield from _groups(data)
    yield from _authentication(data)
    yield from _kra_agent(data)
    yield from _administration(data)


def did_you_mean(word: str, known: list[str]) -> str:
    """Name the nearest known word, or else all of them."""
    if nearest := get_close_matches(word, known, n=1):
        return f'did you mean "{nearest[0]}"?'
    return f"known are: {', '.join(sorted(known)) or 'none'}"


def _table(data: object, *keys: str) -> Table:
    """Return the table at the keys; empty when there is none."""
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, dict) else {}


def _tables(data: Table, *keys: str) -> list[tuple[int, Table]]:
    """Return the list of tables at the keys, with their positions."""
    items = _table(data, *keys[:-1]).get(keys[-1])
    return [(n, item) for n, item in enumerate(items) if isinstance(item, dict)] if isinstance(items, list) else []


def _is_name(value: object) -> bool:
    return isinstance(value, str)


def _duplicates(data: Table) -> Iterator[Fault]:
    for keys, key in ((("ca",), "id"), (("est", "label"), "name"), (("ha", "group"), "name")):
        seen: dict[str, int] = {}
        for position, table in _tables(data, *keys):
            name = table.get(key)
            if not isinstance(name, str):
                continue
            if name in seen:
                first = path_of((*keys, seen[name]))
                yield Fault(
                    path_of((*keys, position, key)), f'"{name}" is already the {key} of {first}; choose another'
                )
            seen.setdefault(name, position)
    ids = {ca.get("id") for _, ca in _tables(data, "ca") if _is_name(ca.get("id"))}
    for position, group in _tables(data, "ha", "group"):
        if _is_name(group.get("name")) and group["name"] in ids:
            text = f'"{group["name"]}" is already the id of a CA; a group needs a name of its own'
            yield Fault(path_of(("ha", "group", position, "name")), text)


def _references(data: Table) -> Iterator[Fault]:
    types = {ca["id"]: type_of(ca) for _, ca in _tables(data, "ca") if _is_name(ca.get("id"))}
    groups = [group["name"] for _, group in _tables(data, "ha", "group") if _is_name(group.get("name"))]
    targets = [*types, *groups]

    for position, group in _tables(data, "ha", "group"):
        members = group.get("ca_ids")
        for index, member in enumerate(members if isinstance(members, list) else []):
            if isinstance(member, str) and member not in types:
                text = f'there is no CA "{member}"; {did_you_mean(member, list(types))}'
                yield Fault(path_of(("ha", "group", position, "ca_ids", index)), text)

    est = _table(data, "est")
    default = est.get("default_ca")
    if isinstance(default, str) and default not in targets:
        yield Fault("est.default_ca", f'there is no CA or group "{default}"; {did_you_mean(default, targets)}')
    cas = {
        label["name"]: label.get("ca_id") for _, label in _tables(data, "est", "label") if _is_name(label.get("name"))
    }
    strict = est.get("default_label")
    if isinstance(strict, str) and strict not in cas:
        yield Fault("est.default_label", f'there is no label "{strict}"; {did_you_mean(strict, list(cas))}')
    elif isinstance(strict, str) and default not in (None, cas[strict]):
        text = f'the label "{strict}" of est.default_label has CA "{cas[strict]}"; remove this key'
        yield Fault("est.default_ca", text)

    for position, label in _tables(data, "est", "label"):
        ca_id = label.get("ca_id")
        if not isinstance(ca_id, str):
            continue
        if ca_id not in targets:
            text = f'there is no CA or group "{ca_id}"; {did_you_mean(ca_id, targets)}'
            yield Fault(path_of(("est", "label", position, "ca_id")), text)
        elif "dogtag_profile" in label and types.get(ca_id, "dogtag") != "dogtag":
            text = f'CA "{ca_id}" is of type "{types[ca_id]}" and has no profiles; remove this key'
            yield Fault(path_of(("est", "label", position, "dogtag_profile")), text)


def _groups(data: Table) -> Iterator[Fault]:
    """Groups whose members cannot stand in for each other, and such as are named but switched off."""
    types = {ca["id"]: type_of(ca) for _, ca in _tables(data, "ca") if _is_name(ca.get("id"))}
    member_of: dict[str, int] = {}
    names = []
    for position, group in _tables(data, "ha", "group"):
        if _is_name(group.get("name")):
            names.append(group["name"])
        members = group.get("ca_ids")
        for index, member in enumerate(members if isinstance(members, list) else []):
            if not isinstance(member, str) or member not in types:
                continue
            path = path_of(("ha", "group", position, "ca_ids", index))
            if types[member] != "dogtag":
                text = f'CA "{member}" is of type "{types[member]}"; a group is made of clones of one Dogtag CA'
                yield Fault(path, text)
            first = member_of.setdefault(member, position)
            if first != position:
                other = path_of(("ha", "group", first))
                yield Fault(path, f'CA "{member}" is in {other} already; a CA belongs to one group at most')
    ha = _table(data, "ha")
    if ha.get("enabled") is True and "group" not in ha:
        yield Fault("ha.enabled", "there is no [[ha.group]] to switch on; add one, or remove this key")
    if ha.get("enabled", False) is False:
        yield from _switched_off(data, names)


def _switched_off(data: Table, groups: list[str]) -> Iterator[Fault]:
    targets = [("est.default_ca", _table(data, "est").get("default_ca"))]
    targets += [
        (path_of(("est", "label", position, "ca_id")), label.get("ca_id"))
        for position, label in _tables(data, "est", "label")
    ]
    for path, target in targets:
        if target in groups:
            yield Fault(path, f'the group "{target}" is switched off; set ha.enabled = true, or name one of its CAs')


def _authentication(data: Table) -> Iterator[Fault]:
    """Ways to authenticate that nobody could ever use.

    Only what was written is a fault: the default ["certificate", "basic"] means whichever of the two is set up,
    as long as one of them is.
    """
    client_auth = _table(data, "tls", "client_auth")
    has_users = "users" in _table(data, "est")
    has_anchors = client_auth.get("trust_anchors") not in (None, [])
    takes_certificates = has_anchors and client_auth.get("mode") != "none"

    if not has_anchors:
        if client_auth.get("mode") == "required":
            text = "client certificates are required, but tls.client_auth.trust_anchors names no CA to check them with"
            yield Fault("tls.client_auth.mode", text)
        if client_auth.get("crl") not in (None, []):
            yield Fault("tls.client_auth.crl", "CRLs have no effect without tls.client_auth.trust_anchors")

    for position, label in _tables(data, "est", "label"):
        if label.get("trust_anchors") not in (None, []) and not takes_certificates:
            text = (
                "has no effect without client certificates: set tls.client_auth.trust_anchors (and a mode other than "
                '"none"), or remove this key'
            )
            yield Fault(path_of(("est", "label", position, "trust_anchors")), text)
        ways = label.get("auth")
        wanted = (
            {part for way in ways if isinstance(way, str) for part in way.split("+")}
            if isinstance(ways, list)
            else set()
        )
        path = path_of(("est", "label", position, "auth"))
        if "basic" in wanted and not has_users:
            yield Fault(path, '"basic" needs a file of users: set est.users, or leave "basic" out')
        if "certificate" in wanted and not takes_certificates:
            text = (
                '"certificate" needs client certificates: set tls.client_auth.trust_anchors (and a mode other than '
                '"none"), or leave "certificate" out'
            )
            yield Fault(path, text)

    if "tls" in data and _table(data, "est").get("enabled") is not False and not has_users and not takes_certificates:
        text = (
            f"nobody could authenticate: the default is {' or '.join(DEFAULT_AUTH)}, and neither is set up; "
            "set est.users, tls.client_auth.trust_anchors, or both"
        )
        yield Fault("est", text)


def _kra_agent(data: Table) -> Iterator[Fault]:
    """An agent for a KRA that is not named, or half an agent."""
    for position, ca in _tables(data, "ca"):
        written = [key for key in ("kra_agent_cert", "kra_agent_key", "kra_agent_key_passphrase") if key in ca]
        if written and "kra_url" not in ca:
            yield Fault(path_of(("ca", position, written[0])), "has no effect without kra_url; name the KRA there")
        elif written and not {"kra_agent_cert", "kra_agent_key"} <= set(written):
            missing = "kra_agent_key" if "kra_agent_cert" in written else "kra_agent_cert"
            text = f"belongs to an agent of its own; set {missing} too, or leave both out to use the CA's agent"
            yield Fault(path_of(("ca", position, written[0])), text)


def _administration(data: Table) -> Iterator[Fault]:
    """Health that nobody could ever ask for, and subjects of certificates that nobody looks at."""
    admin = _table(data, "admin")
    has_anchors = admin.get("trust_anchors") not in (None, [])
    if "subjects" in admin and not has_anchors:
        yield Fault("admin.subjects", "has no effect without admin.trust_anchors; name the administrators' CAs there")
    if admin.get("health") == "token" and "tokens" not in admin and not has_anchors:
        text = '"token" needs somebody to have one: set admin.tokens, admin.trust_anchors, or both'
        yield Fault("admin.health", text)
