"""What the command line shows of a prompt, of replies with their verdicts, and of cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from thickets.flows.cli.plain_text import plain

if TYPE_CHECKING:
    from thickets.flows.check.cases import CasesResult, Failure
    from thickets.flows.check.prompt import FirstPrompt, Gold, Token
    from thickets.flows.check.replies import Check
    from thickets.flows.check.verdict import CheckedReply

_COLOURS = {"right": "green", "wrong": "red", "abstains": "yellow"}
_OPEN, _CLOSE = "⟦", "⟧"  # around the answer in a reply: seen in files and on any terminal, and in no reply
_QUESTION_CHARACTERS = 160
_REPLY_CHARACTERS = 320
_AROUND_CHARACTERS = 120
_PROMPT_LINES = 6


def check_report(found: Check) -> Group:
    """Return the first prompt, the replies, their counts and what to change."""
    title = Text(f"{found.problem} on {found.model}, at most {found.max_tokens} tokens per reply", "bold")
    parts: list[Text] = [
        title,
        *([Text(found.engine, "dim")] if found.engine else []),
        Text(),
        prompt_lines(found.prompt),
    ]
    for number, reply in enumerate(found.replies, start=1):
        parts += [Text(), reply_lines(reply, number)]
    if found.replies:
        parts += [Text(), Text(_counts(found), "bold")]
    parts += [Text(f"warning: {line}", "yellow") for line in found.warnings]
    return Group(*parts)


def prompt_lines(found: FirstPrompt, *, short: bool = False) -> Text:
    """Return a prompt as text and as tokens, and the gold answer as it is read.

    Args:
        found: The prompt.
        short: Its first lines and no tokens.
    """
    lines = plain(found.text).splitlines() or [""]
    left_out = len(lines) - _PROMPT_LINES if short else 0
    shown = lines[:_PROMPT_LINES] if left_out > 0 else lines
    text = Text(f"the first prompt, example {found.example_id}: {found.n_tokens:,} tokens, {_bos(found)}\n")
    if found.image is not None:
        text.append(f"image: {plain(found.image)}\n")
    text.append("".join(f"  {line}\n" for line in shown), "cyan")
    if left_out > 0:
        text.append(f"  ... {left_out} more lines: thickets check shows them\n", "dim")
    if not short:
        for name, tokens in (("first tokens", found.beginning), ("last tokens", found.end)):
            text.append(f"{name}: {'  '.join(map(_token, tokens))}\n" if tokens else "", "dim")
    text.append(f"gold answer: {_gold(found.gold)}")
    return text


def reply_lines(found: CheckedReply, number: int | None = None) -> Text:
    """Return a reply with its answer marked, under the verdict and the question."""
    text = Text("" if number is None else f"{number:>2} ")
    text.append(plain(found.why), f"bold {_COLOURS[found.verdict]}")
    question = " ".join(plain(found.question).split())
    more = "..." if len(question) > _QUESTION_CHARACTERS else ""
    text.append(f"\n   question: {question[:_QUESTION_CHARACTERS]}{more}\n", "dim")
    text.append("   reply:    ", "dim")
    text.append_text(_marked(found))
    return text


def cases_report(found: CasesResult) -> Group:
    """Return the rows whose verdict is not allowed, and their number."""
    lines = [_failure(each) for each in found.failures]
    count = len(found.failures)
    end = f"{count} of {found.n} verdicts not as allowed" if count else f"{found.n} verdicts, all as allowed"
    return Group(*lines, Text(end, "bold red" if count else "bold green"))


def _failure(found: Failure) -> Text:
    gold = ", ".join(map(repr, found.gold))
    read = "" if found.extracted is None else f" (read {found.extracted!r})"
    text = Text(f"line {found.line}: {found.verifier}, gold {gold}, reply {found.reply[-200:]!r}\n")
    text.append(f"  {found.verdict}{read}", "red")
    text.append(f"; allowed: {', '.join(found.allowed)}{'; ' if found.why else ''}{found.why}")
    return text


def _counts(found: Check) -> str:
    cut_off = f"; {found.n_cut_off} of them cut off at {found.max_tokens} tokens" if found.n_cut_off else ""
    return (
        f"{len(found.replies)} replies of the base: {found.n_right} right, {found.n_wrong} wrong, "
        f"{found.n_abstained} without an answer{cut_off}"
    )


def _bos(found: FirstPrompt) -> str:
    if found.bos is None:
        return "no BOS in this vocabulary"
    count = {0: "no", 1: "one", 2: "two"}.get(found.n_bos, str(found.n_bos))
    return f"{count} BOS ({found.bos}) at its beginning"


def _token(token: Token) -> str:
    shown = repr(token.text)
    return shown if token.id is None else f"{token.id} {shown}"


def _gold(found: Gold) -> str:
    written = " ".join(plain(found.written).split())
    if len(written) > _QUESTION_CHARACTERS:
        written = f"... {written[-_QUESTION_CHARACTERS:]}"
    read = "" if found.read in (None, found.written) else f", read as {plain(str(found.read))}"
    also = f"; also accepted: {', '.join(map(plain, found.aliases))}" if found.aliases else ""
    return f"{written}{read}{also}"


def _marked(found: CheckedReply) -> Text:
    """Return the reply with its answer in brackets, long parts before and after it left out."""
    start, end = found.span or (len(found.reply), len(found.reply))
    before, answer, after = found.reply[:start], found.reply[start:end], found.reply[end:]
    if len(found.reply) > _REPLY_CHARACTERS:
        if len(before) > 2 * _AROUND_CHARACTERS:
            before = f"{before[:_AROUND_CHARACTERS]} ... {before[-_AROUND_CHARACTERS:]}"
        if len(after) > _AROUND_CHARACTERS:
            after = f"{after[:_AROUND_CHARACTERS]} ..."
        if len(answer) > _REPLY_CHARACTERS:
            answer = f"{answer[:_AROUND_CHARACTERS]} ... {answer[-_AROUND_CHARACTERS:]}"
    text = Text(_indented(before))
    if found.span is not None:
        text.append(f"{_OPEN}{_indented(answer)}{_CLOSE}", f"bold {_COLOURS[found.verdict]}")
    text.append(_indented(after))
    text.rstrip()
    return text


def _indented(text: str) -> str:
    return plain(text).replace("\n", "\n             ")
