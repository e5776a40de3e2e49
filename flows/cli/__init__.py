"""The command line: what it takes, and the tables and lines that it prints."""
