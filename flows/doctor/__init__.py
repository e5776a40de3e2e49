"""What is installed here, what a run would take of it, and whether an engine holds what is loaded into it."""
