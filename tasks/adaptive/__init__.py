"""What a run decides on the way: sigmas, candidates out of the race, a budget, a limit for answers."""
