"""What is done with runs besides making and reading them: delete, clean up, name, send elsewhere."""
