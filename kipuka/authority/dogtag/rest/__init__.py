"""The REST API of Dogtag as a client: connections with a bound, calls, paths, and what became of a call."""
