"""Says how to see a run's questions and replies: the command, and the page where one is served.

A file cannot know whether anybody serves pages when it is read, so a report has the command alone. What stands in
Prefect and MLflow has the link too if the address was known when it was written: `thickets up` serves all three.
"""

from __future__ import annotations

import os
import shlex
from urllib.parse import quote, urlsplit

from thickets.storage.home import RunFolder

VIEW_VARIABLE = "THICKETS_VIEW_URL"
"""Address of the pages; `thickets up` sets it for its worker and for runs that use its servers."""
_NOT_IN_A_LINK = frozenset("<>()\"'` \t\n")


def view_command(folder: RunFolder) -> str:
    """Return the command that shows a run, wherever it is called."""
    home = folder.root.resolve().parents[1]
    return f"thickets view {folder.run_id} --home {shlex.quote(str(home))}"


def view_page(run_id: str) -> str | None:
    """Return the address of a run's page; None where no address was set, or none that may stand in a link."""
    address = os.environ.get(VIEW_VARIABLE, "").rstrip("/")
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    is_plain = parts.scheme in ("http", "https") and parts.hostname and not _NOT_IN_A_LINK & set(address)
    if not is_plain or "@" in parts.netloc:  # a password
        return None
    return f"{address}/runs/{quote(run_id, safe='')}"


def how_to_look(folder: RunFolder) -> str:
    """Return how to see a run's questions and replies, as Markdown."""
    command = f"```\n{view_command(folder)}\n```"
    if page := view_page(folder.run_id):
        return f"Every question and reply: <{page}>, or\n\n{command}"
    return f"Every question and reply:\n\n{command}"
