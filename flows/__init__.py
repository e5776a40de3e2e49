"""What a person starts: the Prefect flows, their configuration, and the command line."""
