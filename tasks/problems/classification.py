"""Classification: texts, each with one label of a small set.

Sample (columns text and label, labels: [negative, positive]):

    {"text": "The soup was cold and the waiter rude.", "label": "negative"}

    user:      The soup was cold and the waiter rude.

               Which label fits this text: negative or positive? Reply with just the label.
    assistant: negative

Source: the user's, or data of this form such as hf:stanfordnlp/sst2 (question_column: sentence), hf:fancyzhx/ag_news or
hf:PolyAI/banking77, whose labels are numbers with names: the names are the labels. Elsewhere they are
``problem.labels``, else the answers that ``path`` has, sorted.

A generated reply is read by `thickets.tasks.verifiers.label`. With ``scoring: loglikelihood`` nothing is generated: the
answer is the label that the model finds likeliest. Its likelihood is the product of those of its tokens, which is the
probability that it follows the prompt; nothing divides it, for a long label would gain by the tokens that its own
beginning makes certain (``likelihood_per`` can say otherwise).
"""

from __future__ import annotations

from collections.abc import Sequence

from thickets.tasks.datafiles import Row, Source, read_rows
from thickets.tasks.datafiles.hub import label_names
from thickets.tasks.problems.config import ProblemConfig
from thickets.tasks.problems.file import FileProblem
from thickets.tasks.problems.kind import DATA_FIELDS, EXAMPLE_FIELDS, LIKELIHOOD_FIELDS, Kind
from thickets.tasks.types import JSON, Example, Label
from thickets.tasks.verifiers.label import label_verifier

_MOST_LABELS = 100


class Classification(FileProblem):
    """Texts with labels from a file or a Hugging Face data set."""

    summary = "Texts with one label of a few (sentiment, topic, intent, yes or no); by name or by likelihood."

    def __init__(self, config: ProblemConfig) -> None:
        self._found: tuple[str, ...] = config.labels
        super().__init__(config.with_own_columns(), label_verifier(lambda: self.all_labels))

    @property
    def all_labels(self) -> tuple[str, ...]:
        """The labels: the config's, else those of the data, which is read for it.

        Raises:
            InputError: As for :meth:`examples`.
        """
        if not self._found:
            self.examples(0, 0)
        return self._found

    def labels(self, example: Example) -> tuple[Label, ...]:
        """See `thickets.tasks.problems.base.HasLabels`."""
        return tuple(Label(label, label) for label in self.all_labels)

    def judgement(self) -> dict[str, JSON]:
        """Return the verifier and the labels."""
        return {**super().judgement(), "labels": list(self.all_labels)}

    def written_out(self) -> ProblemConfig:
        """Return the config with template, worked examples and labels in it."""
        return super().written_out().model_copy(update={"labels": self.all_labels})

    def _template(self, example: Example | None) -> str:
        own = super()._template(example)
        if self._config.instruction is not None or example is None or "turns" in example.metadata:
            return own
        *first, last = self.all_labels
        return f"{own}\n\nWhich label fits this text: {', '.join(first)} or {last}? Reply with just the label."

    def _read(self, source: Source) -> list[Row]:
        if not self._found:
            names = label_names(source)
            self._found = names or _answers(source, read_rows(source))
        return super()._read(source)


def _answers(source: Source, rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the answers of some rows as labels, sorted.

    Raises:
        InputError: There are fewer than 2 or too many, or two that a reader would take for one.
    """
    found = sorted({answer for row in rows for answer in row.example.accepted})
    if not 2 <= len(found) <= _MOST_LABELS:
        raise source.error(
            f"column {source.answer_column!r} has {len(found):,} different answers; as labels they must be 2 to "
            f"{_MOST_LABELS}: name the labels in problem.labels, or take name: file"
        )
    try:
        return ProblemConfig(name="classification", path=source.location, labels=tuple(found)).labels
    except ValueError as error:
        raise source.error(f"the answers in column {source.answer_column!r} cannot be labels: {error}") from None


KIND = Kind(
    name="classification",
    summary=Classification.summary,
    make=Classification,
    origin="your own data",
    fields=(*DATA_FIELDS, "labels", *LIKELIHOOD_FIELDS, *EXAMPLE_FIELDS),
    columns={"question_column": "text", "answer_column": "label"},
    default_verifier="label",
    sample_config={"path": "reviews.jsonl", "labels": ("negative", "positive")},
    sample_example=Example("sample", "The soup was cold and the waiter rude.", "negative"),
)
