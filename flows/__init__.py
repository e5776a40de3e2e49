"""What a person starts: the Prefect flows, their configuration, and the command line."""

from thickets.flows.runtime.environment import set_runtime_defaults

set_runtime_defaults()
