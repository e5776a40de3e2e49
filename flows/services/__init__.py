"""`thickets up`: Prefect, MLflow, the pages of runs and a worker on this machine, started and stopped together.

`settings` checks ports and password, `launch` holds the command and environment of each, `process` starts and stops
one, `supervisor` keeps all of them up, `state` records them in the home, `connect` points a command at them.
"""
