"""Values that runs report, and their text form. Nothing here imports more than pydantic."""
