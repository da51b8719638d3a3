"""TLS contexts: the EST listener's and those of connections to CAs."""
