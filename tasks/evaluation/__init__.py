"""The ensemble and its controls: votes, the choice of K, and examples of their replies."""
