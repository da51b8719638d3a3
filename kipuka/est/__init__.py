"""EST without a network: bytes and values in, frozen values out, or a RequestError (RFC 7030, 8951, 9908)."""
