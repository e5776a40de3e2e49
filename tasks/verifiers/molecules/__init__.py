"""RDKit, in a process of its own: brings molecules to one form."""
