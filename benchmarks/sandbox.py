"""How many programs a second can be judged, by how they are shut in?

    python -m benchmarks.sandbox [--programs 1000] [--json FILE]

Different programs with three tests each, as many at a time as there are processors. Bar: 30 a second on two cores.
"""

from __future__ import annotations

import time
from typing import get_args

from benchmarks.output import parser, show
from thickets.tasks.sandbox.isolation import works
from thickets.tasks.sandbox.launch import Isolation
from thickets.tasks.sandbox.pool import Job, run_all


def main() -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("--programs", type=int, default=1000)
    options = options_parser.parse_args()
    rows = {isolation: measure(isolation, options.programs) for isolation in get_args(Isolation) if works(isolation)}
    show(f"{options.programs} programs of three tests", rows, options.json)


def measure(isolation: Isolation, n: int) -> dict[str, float]:
    jobs = [
        Job(
            f"import math\n\ndef shifted(numbers):\n    return sorted(number + {place} for number in numbers)\n",
            (
                "assert shifted([]) == []",
                f"assert shifted([2, 1]) == [{place + 1}, {place + 2}]",
                "assert shifted([0])",
            ),
        )
        for place in range(1, n + 1)
    ]
    began = time.perf_counter()
    outcomes = run_all(jobs, isolation)
    took_s = time.perf_counter() - began
    assert all(outcome.passed == (True, True, True) for outcome in outcomes)
    return {"programs_per_s": n / took_s, "seconds": took_s}


if __name__ == "__main__":
    main()
