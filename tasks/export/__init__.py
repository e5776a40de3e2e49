"""One model out of a run: an expert or an average, as an ordinary checkpoint with its card."""
