"""What callers prove who they are with: users and their passwords, tokens, and the files both are in."""
