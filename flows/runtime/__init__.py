"""What a flow needs around it: environment and logger, session, interruption, and repair of runs that were killed."""
