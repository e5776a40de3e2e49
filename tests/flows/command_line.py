"""What the command line's tests share."""

from __future__ import annotations

Result = tuple[int, str, str]
"""Exit status, standard output, standard error."""


def refused(result: Result) -> str:
    """The one error line of a command that refused its input."""
    status, out, err = result
    assert status == 2
    assert out == ""
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert err.splitlines()[-1] == lines[0]
    return lines[0].removeprefix("error: ")
