"""The commands with which devices would use this configuration; the forms of docs/clients.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kipuka.cli.doctor.checks import tls
from kipuka.config.model import DEFAULT_AUTH, Auth, Config, Label, TcpAddress

_HOST, _PORT, _TRUST = "est.example.com", 8443, "tls-ca.pem"
"""For what the configuration does not tell."""


@dataclass(frozen=True)
class Endpoint:
    """Where one label is offered, and how its callers authenticate.

    :param label: None: the paths without a label.
    :param trust: file with the certificate that devices need to check the server.
    :param notes: what the label demands that the commands cannot know.
    """

    host: str
    port: int
    label: str | None
    auth: tuple[Auth, ...]
    trust: str
    notes: tuple[str, ...] = ()

    @property
    def server(self) -> str:
        """Host and port as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The base of EST's paths."""
        return f"https://{self.server}/.well-known/est" + (f"/{self.label}" if self.label else "")


@dataclass(frozen=True)
class Commands:
    """The lines for one client program."""

    client: str
    lines: tuple[str, ...]


def endpoints(config: Config) -> Iterator[Endpoint]:
    """Return what the configuration offers."""
    chain = tls.certificates(config.tls.cert)
    hosts = [each for each in (tls.names(chain[0]) if chain else ()) if "*" not in each]
    ports = [each.port for each in config.server.listen if isinstance(each, TcpAddress) and each.port]
    root = tls.root_of(chain, tls.known(config)) if chain else None
    host, port, trust = (hosts or [_HOST])[0], (ports or [_PORT])[0], str(root or _TRUST)
    labels = {label.name: label for label in config.est.label}
    for name in (None, *labels):
        label = labels.get(name or config.est.default_label or "")
        auth = DEFAULT_AUTH if label is None else label.auth
        yield Endpoint(host, port, name, _possible(auth, config), trust, () if label is None else tuple(_notes(label)))


def commands(endpoint: Endpoint) -> tuple[Commands, ...]:
    """Return the commands for every client that docs/clients.md knows."""
    return (_curl(endpoint), _strongswan(endpoint), _libest(endpoint), _bouncy_castle(endpoint))


def text(config: Config) -> Iterator[str]:
    """Return lines for a person."""
    yield "How devices use this configuration; USER, PASSWORD, NAME and device files are yours to fill in:"
    for endpoint in endpoints(config):
        place = f'label "{endpoint.label}"' if endpoint.label else "without a label"
        yield ""
        yield f"# {place}: {endpoint.url}, authentication by {' or '.join(endpoint.auth) or 'nothing that is set up'}"
        yield from (f"# {note}" for note in endpoint.notes)
        for each in commands(endpoint):
            yield f"# {each.client}"
            yield from each.lines


def _possible(auth: tuple[Auth, ...], config: Config) -> tuple[Auth, ...]:
    """Leave out what is not set up: the default names both ways."""
    takes = config.tls.client_auth
    has = {"basic": config.est.users is not None, "certificate": bool(takes.trust_anchors) and takes.mode != "none"}
    return tuple(way for way in auth if all(has[part] for part in way.split("+")))


def _notes(label: Label) -> Iterator[str]:
    if label.subject_pattern is not None:
        # RFC 4514 text begins with the last attribute, and OpenSSL's -subj with the first.
        wanted = "make /CN=NAME fit, such as /O=Example/CN=NAME for CN=NAME,O=Example"
        yield f"subject_pattern is {label.subject_pattern}: {wanted}"
    if label.san_pattern is not None:
        yield f"san_pattern is {label.san_pattern}: make the subjectAltName fit, or leave it out"
    if label.allowed_key_types:
        yield f"allowed_key_types are {', '.join(label.allowed_key_types)}: make the key one of these"


def _options(endpoint: Endpoint, password: str, certificate: str) -> str:
    """Return a client's options for the label's first way to authenticate: what a device without a certificate has."""
    way = next((each for each in endpoint.auth if each == "basic"), next(iter(endpoint.auth), "basic"))
    return " ".join({"basic": password, "certificate": certificate}[part] for part in sorted(way.split("+")))


def _curl(endpoint: Endpoint) -> Commands:
    curl = f"curl --fail-with-body --cacert {endpoint.trust}"
    login = _options(endpoint, "--user USER:PASSWORD", "--cert device.pem --key device-key.pem")
    request = 'openssl req -new -key new-key.pem -subj "/CN=NAME" -addext "subjectAltName=DNS:NAME" -outform DER'
    body = '-H "Content-Type: application/pkcs10" --data-binary'
    return Commands(
        "curl and openssl",
        (
            f"{curl} {endpoint.url}/cacerts -o cacerts.b64",
            "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out new-key.pem",
            f"{request} | openssl base64 -out request.b64",
            f"{curl} {login} {body} @request.b64 {endpoint.url}/simpleenroll -o answer.b64",
            "openssl base64 -d -in answer.b64 | openssl pkcs7 -inform DER -print_certs -out new.pem",
            f"{curl} --cert new.pem --key new-key.pem {body} @request.b64 {endpoint.url}/simplereenroll -o renewed.b64",
            "openssl base64 -d -in renewed.b64 | openssl pkcs7 -inform DER -print_certs -out renewed.pem",
        ),
    )


def _strongswan(endpoint: Endpoint) -> Commands:
    # The program has no option for labels; kipuka takes them in front of the path, too.
    url = f"https://{endpoint.server}" + (f"/{endpoint.label}" if endpoint.label else "")
    trust = f"--cacert {endpoint.trust}"
    anchors = f"{trust} $(printf -- '--cacert %s ' cacert*.pem)"
    lines = [
        f"pki --estca --url {url} {trust} --caout cacert.pem --outform pem --force",
        "pki --gen --type ecdsa --size 256 --outform pem > new-key.pem",
        'pki --req --type ecdsa --in new-key.pem --dn "CN=NAME" --san NAME > request.der',
    ]
    if "basic" in endpoint.auth:
        enroll = f"pki --est --url {url} --in request.der --userpass USER:PASSWORD --outform pem"
        lines.append(f"{enroll} {anchors} > new.pem")
    else:
        lines.append("# the program cannot enroll with a certificate alone; it can renew:")
    renew = f"pki --est --url {url} --in request.der --cert new.pem --key new-key.pem --outform pem"
    return Commands("strongSwan", (*lines, f"{renew} {anchors} > renewed.pem"))


def _libest(endpoint: Endpoint) -> Commands:
    login = _options(endpoint, "-u USER -h PASSWORD", "-c device.pem -k device-key.pem")
    label = f" --path-seg {endpoint.label}" if endpoint.label else ""
    where = f"-s {endpoint.host} -p {endpoint.port}{label} -o ."
    estclient = f"EST_OPENSSL_CACERT={endpoint.trust} estclient"
    return Commands(
        "libest (not tested by kipuka)",
        (
            f"{estclient} -g {where} --pem-output",
            f"{estclient} -e {where} {login} --common-name NAME --pem-output",
        ),
    )


def _bouncy_castle(endpoint: Endpoint) -> Commands:
    trust = "JcaJceUtils.getCertPathTrustManager(Set.of(new TrustAnchor(tlsCa, null)), null)"
    lines = [f'JsseESTServiceBuilder builder = new JsseESTServiceBuilder("{endpoint.server}", {trust});']
    if endpoint.label:
        lines.append(f'builder.withLabel("{endpoint.label}");')
    if any("certificate" in way for way in endpoint.auth):
        lines.append("builder.withKeyManagers(keyManagers);")
    login = "null"
    if any("basic" in way for way in endpoint.auth):
        login = "login"
        lines.append('ESTAuth login = new JcaHttpAuthBuilder("USER", password).setProvider("BC").build();')
    lines.append(f"EnrollmentResponse enrolled = builder.build().simpleEnroll(false, request, {login});")
    return Commands("Bouncy Castle (Java)", tuple(lines))
