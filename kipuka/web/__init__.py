"""HTTP: everything that knows a status code, a header or a socket of a client."""
