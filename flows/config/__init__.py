"""A run's configuration: its sections, the files and presets it is read from, and what is checked before it is used."""
