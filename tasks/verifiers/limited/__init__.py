"""A process of its own for what libraries do with untrusted text, with limits of time and memory."""
