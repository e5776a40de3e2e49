"""The flows as Prefect deployments: what they are called, how they get to a server, and how a program starts one."""
