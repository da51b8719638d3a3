"""The life of a request between the door (web) and the CA (authority)."""
