"""How many replies with a molecule can be judged in a second?

    python -m benchmarks.molecules [--replies 10000] [--json FILE]

Different molecules, each in a reply of a sentence; one process of RDKit. Needs the extra `chemistry`.
"""

from __future__ import annotations

import time

from benchmarks.output import parser, show
from thickets.tasks.verifiers.molecule import molecule_answer

_TAILS = ("c1ccccc1", "C(=O)OCC", "NC(=O)C", "C#N", "OC1CCCCC1")


def main() -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("--replies", type=int, default=10_000)
    options = options_parser.parse_args()
    molecule_answer("<answer>CCO</answer>")  # the process has started
    show(f"{options.replies} replies", {"molecule": measure(options.replies)}, options.json)


def measure(n: int) -> dict[str, float]:
    smiles = [f"{'C' * (place % 29 + 1)}[C@H](F){'CO' * (place // 145)}N{_TAILS[place % 5]}" for place in range(n)]
    replies = [f"The chain is extended.\n\nThe product is <answer>{each}</answer>." for each in smiles]
    began = time.perf_counter()
    answers = [molecule_answer(reply) for reply in replies]
    took_s = time.perf_counter() - began
    assert None not in answers
    return {"replies_per_s": n / took_s, "seconds": took_s, "different": len(set(answers))}


if __name__ == "__main__":
    main()
