"""Selection of experts among the candidates: ranking, diversity, and the scores that luck alone gives."""
