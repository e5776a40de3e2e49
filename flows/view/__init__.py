"""`thickets view`: a run's answers as web pages on this machine, read-only, also while the run is in progress."""
