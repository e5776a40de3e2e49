"""Small projects to begin with: questions, a configuration, a test, and where it is one's own function a verifier."""

from thickets.flows.project.kinds import KINDS
from thickets.flows.project.write import write_project

__all__ = ["KINDS", "write_project"]
