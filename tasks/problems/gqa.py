"""GQA: questions about photographs, each answered by a word or two; 12,578 in its balanced test-dev set, English.

Sample (columns question, answer, and image: a path beside the data file, or the image itself):

    {"question": "What is the boy holding?", "answer": "kite", "image": "images/n161313.jpg"}

    user:      [image]
               What is the boy holding?

               Answer with one word or a short phrase.
    assistant: A kite.

Source: Hudson & Manning 2019, arXiv 1902.09506; https://cs.stanford.edu/people/dorarad/gqa (questions CC BY 4.0; the
photographs are Visual Genome's). Its questions name their images by id, and come apart from them: docs/problems.md
shows how to bring both together.

An answer is right where it is the gold answer but for case, articles, punctuation and spaces. The image reaches the
model (Qwen2.5-VL; `thickets.tasks.engines.images`), whose vision tower no candidate changes unless the config says so.
"""

from __future__ import annotations

from thickets.tasks.problems.config import ProblemConfig
from thickets.tasks.problems.file import FileProblem
from thickets.tasks.problems.kind import DATA_FIELDS, IMAGE_FIELDS, Kind
from thickets.tasks.types import Example, Image
from thickets.tasks.verifiers.short import SHORT


class Gqa(FileProblem):
    """GQA, or any short questions about images, from a file with paths or a data set with images."""

    summary = "Short questions about images, for a model that sees (path: a file with image paths, or hf: with images)."

    def __init__(self, config: ProblemConfig) -> None:
        super().__init__(config.with_own_columns(), SHORT)


SAMPLE = Example(
    id="sample",
    question="What stands on the windowsill?",
    answer="flower pot",
    image=Image(sha256="", path="", name="images/kitchen.jpg", width=640, height=480),
)
"""A question in the data's form, for the catalogue; nobody opens its image."""

KIND = Kind(
    name="gqa",
    summary=Gqa.summary,
    make=Gqa,
    origin="Hudson & Manning 2019, arXiv 1902.09506; CC BY 4.0",
    fields=(*DATA_FIELDS, *IMAGE_FIELDS),
    columns={"image_column": "image"},
    sample_config={"path": "questions.jsonl"},
    sample_example=SAMPLE,
)
