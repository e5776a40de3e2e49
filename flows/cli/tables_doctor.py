"""What the command line shows of an examination of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

if TYPE_CHECKING:
    from thickets.flows.doctor.examine import Examination
    from thickets.flows.doctor.machine import Machine

_WIDTH = 14  # of the names


def doctor_report(found: Examination) -> Group:
    """Return a line per fact, then the warnings, then what is broken."""
    facts = [_row(name, value) for name, value in (*_of_machine(found.machine), *_of_engine(found))]
    warnings = [Text(f"warning: {line}", "yellow") for line in found.warnings]
    problems = [Text(f"broken: {line}", "red") for line in found.problems]
    return Group(*facts, *warnings, *(problems or [Text("nothing is broken", "green")]))


def _of_machine(machine: Machine) -> Iterator[tuple[str, str]]:
    yield "thickets", machine.thickets
    yield "Python", f"{machine.python} on {machine.platform}"
    yield "libraries", ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    yield "driver", machine.driver or "no NVIDIA driver"
    if machine.shown:
        yield "shown by it", ", ".join(machine.shown)
    usable = (f"{card.name}, {card.memory_gib:g} GiB, compute capability {card.capability}" for card in machine.cards)
    yield "usable GPUs", "; ".join(usable) or "none"
    yield "PyTorch is for", f"CUDA {machine.cuda}" if machine.cuda else "the CPU (or Apple's GPU)"
    yield "C compiler", machine.compiler or "none (only GPUs need one)"


def _of_engine(found: Examination) -> Iterator[tuple[str, str]]:
    if (choice := found.choice) is None:
        return
    yield "model", choice.model
    for name, value in (("engine", choice.engine), ("device", choice.device), ("dtype", choice.dtype)):
        yield name, f"{value}: {choice.why[name]}"
    if (test := found.self_test) is not None:
        yield (
            "self-test",
            f"passed in {test.wall_s:.1f} s: base, candidate, base again; {test.n_tensors} tensors by checksum, "
            f"{test.n_changed} of them changed by the candidate, {test.n_exact} equal to its bits",
        )


def _row(name: str, value: str) -> Text:
    return Text.assemble((f"{name:<{_WIDTH}}  ", "dim"), value)
