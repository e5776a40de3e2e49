"""Which candidates become experts: ranking, diversity, and what luck alone would give."""
