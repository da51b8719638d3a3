"""HTTP for every page: limits, the TLS session of a request, answers, errors, and what is where on a listener."""
