"""kipuka: an EST registration authority (RFC 7030) in front of Dogtag PKI or a local CA."""

__version__ = "0.1.0"
