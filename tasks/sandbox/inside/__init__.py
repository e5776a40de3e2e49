"""What runs inside a sandbox: on the standard library alone, and read from its files by path."""
