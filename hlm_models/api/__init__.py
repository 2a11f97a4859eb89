"""The Python interface, and the only room where rooms are wired together."""
