"""The CAs of a configuration: each, in groups, what they revoke, and the chains that are kept of them."""
