"""The process that brings expressions to one form and compares them; started by `process`.

It reads ``("form", text)`` and ``("equal", left, right)`` and answers each with the result; None for what cannot be
read.
"""

from __future__ import annotations

from thickets.tasks.verifiers.expressions.tokens import Unreadable
from thickets.tasks.verifiers.limited.main import Answer, main


def prepare() -> Answer:
    """Import SymPy and try it once."""
    from thickets.tasks.verifiers.expressions import simplify  # takes a second

    simplify.form("(x+1)^2/x + sqrt(8)")  # and the first expression another

    def answer(what: str, texts: list[str]) -> object:
        try:
            return simplify.form(*texts) if what == "form" else simplify.equal(*texts)
        except MemoryError:
            raise
        except (Unreadable, RecursionError):
            return None
        except Exception:  # SymPy raises whatever it likes; what it cannot do is not read
            return None

    return answer


if __name__ == "__main__":
    main(prepare)
