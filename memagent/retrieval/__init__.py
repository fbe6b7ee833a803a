"""Search over a user's messages."""
