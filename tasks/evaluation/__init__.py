"""The ensemble and its controls: votes, the choice of K, and what their replies show."""
