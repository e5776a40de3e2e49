from __future__ import annotations

import pickle

from thickets.storage.errors import OutOfMemoryError
from thickets.tasks.scoring.executors.messages import Failed


class OnlyThereError(Exception):
    """An error whose class may not be importable on the other side."""


def test_our_own_errors_travel_as_they_are_and_others_as_text() -> None:
    own = pickle.loads(pickle.dumps(Failed.by(3, OutOfMemoryError("lower engine.batch_size"))))
    assert (own.number, type(own.error), str(own.error)) == (3, OutOfMemoryError, "lower engine.batch_size")
    try:
        raise OnlyThereError("two\nlines")
    except OnlyThereError as error:
        other = Failed.by(None, error)
    assert (other.number, other.error, other.what) == (None, None, "OnlyThereError: two lines")
    assert "test_messages.py" in other.where
