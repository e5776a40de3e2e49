"""Tokenizes the prompts of a block once, however many candidates answer them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from thickets.storage.errors import InputError
from thickets.tasks.engines.tokenizer import prompt_ids
from thickets.tasks.types import ImagePrompt, Prompt, text_of

if TYPE_CHECKING:
    from thickets.tasks.engines.images import ImageReader

# Of all prompts kept together; some 40 bytes each.
_MOST_KEPT_IDS = 1 << 20


class PromptReader:
    """Returns the token ids of prompts, and keeps those of the lists that were asked for last."""

    def __init__(
        self,
        tokenizer: Any,
        most_kept: int = _MOST_KEPT_IDS,
        *,
        images: Callable[[], ImageReader] | None = None,
    ) -> None:
        """Tokenize nothing yet.

        Args:
            tokenizer: As `load_tokenizer` gives it.
            most_kept: Most token ids to keep; the list asked for last is kept however long it is.
            images: Makes what reads the model's images, at the first prompt with one; None: it is given none.
        """
        self._tokenizer, self._most_kept, self._make_images = tokenizer, most_kept, images
        self._kept: OrderedDict[tuple[Prompt, ...], list[list[int]]] = OrderedDict()
        self._n_kept = 0

    @cached_property
    def images(self) -> ImageReader:
        """What reads the model's images.

        Raises:
            InputError: It is given none.
        """
        if self._make_images is None:
            raise InputError("model: a prompt has an image, and this model is given none")
        return self._make_images()

    def ids(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Return token ids, a list per prompt, of an image all that it becomes; to be read, never changed."""
        key = tuple(prompts)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        rows = prompt_ids(self._tokenizer, tuple(map(text_of, prompts)))
        for place, prompt in enumerate(prompts):
            if isinstance(prompt, ImagePrompt):
                rows[place] = self.images.expand(rows[place], prompt.image)
        self._kept[key] = rows
        self._n_kept += _count(rows)
        while self._n_kept > self._most_kept and len(self._kept) > 1:
            self._n_kept -= _count(self._kept.popitem(last=False)[1])
        return rows


def _count(rows: Sequence[Sequence[int]]) -> int:
    return sum(map(len, rows))
