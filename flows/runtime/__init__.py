"""What a flow needs around it: environment and logger, session, interruption, and repair of what a kill left."""
