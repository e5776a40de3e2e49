"""`thickets up`: a Prefect server, an MLflow server and a worker on this machine, started and stopped together.

`settings` says what is wanted, `launch` with which command and environment each starts, `process` starts and stops one,
`supervisor` keeps all of them up, `state` is what others find in the home, `connect` points a command at them.
"""
