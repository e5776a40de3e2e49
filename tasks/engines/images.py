"""What a vision-language model of Qwen2.5-VL's kind makes of an image: how many tokens, which pixels.

An image is one token of the chat template's text, which is repeated for every part of the image that the model sees.
The pixels come from Pillow's variant of the model's own image processor, for both engines and whatever else is
installed (Transformers takes torchvision's where it can, whose pixels differ a little).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thickets.storage.errors import InputError
from thickets.tasks.engines.model_files import broken_files
from thickets.tasks.images import BadImageError, load
from thickets.tasks.types import JSON, Image

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image as Picture

MODEL_TYPES = ("qwen2_5_vl",)
"""Of config.json: the models whose engines are given images."""
_MADE_BY = 1  # raise it with whatever changes pixels: `thickets.tasks.images.decode`, or which processor is taken
_FILES = ("preprocessor_config.json", "processor_config.json")


class ImageReader:
    """Reads images for one checkpoint."""

    def __init__(self, folder: Path) -> None:
        """Read how the checkpoint wants its images.

        Raises:
            InputError: It is of no model that is given images here, or its image processor cannot be made.
        """
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if (kind := config.get("model_type")) not in MODEL_TYPES:
            raise InputError(
                f"model: the questions are about images, but {folder.name} is of model_type {kind!r}, which is given "
                f"no images here; allowed is {', '.join(MODEL_TYPES)}, for example Qwen/Qwen2.5-VL-3B-Instruct"
            )
        self._folder = folder
        self.token_id: int = config["image_token_id"]
        with broken_files("its image processor", folder, passing=(OSError,)):
            from transformers import AutoImageProcessor

            try:
                self.processor: Any = AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
            except OSError as error:
                raise InputError(
                    f"model: {folder.name} has no image processor that can be read ({_first_line(error)}); its folder "
                    "must hold preprocessor_config.json"
                ) from None

    def n_tokens(self, image: Image) -> int:
        """Count the tokens that an image becomes.

        Raises:
            InputError: The model's image processor does not take one of its shape.
        """
        _, rows, columns = self.grid(image)
        return rows * columns // int(self.processor.merge_size) ** 2

    def grid(self, image: Image) -> tuple[int, int, int]:
        """Return how many patches an image is cut into: frames, rows and columns.

        Raises:
            InputError: As `n_tokens`.
        """
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

        patch, size = int(self.processor.patch_size), self.processor.size
        try:
            height, width = smart_resize(
                image.height,
                image.width,
                factor=patch * int(self.processor.merge_size),
                min_pixels=size["shortest_edge"],
                max_pixels=size["longest_edge"],
            )
        except ValueError as error:
            raise InputError(
                f"problem.image_column: the image {image.name} is {image.width} x {image.height}, which this model "
                f"does not take ({_first_line(error)})"
            ) from None
        return 1, height // patch, width // patch

    def expand(self, ids: Sequence[int], image: Image) -> list[int]:
        """Repeat the one image token of a prompt as often as the model reads it.

        Args:
            ids: Of the prompt's text.
            image: Its image.
        """
        at = self.place(ids)
        return [*ids[:at], *[self.token_id] * self.n_tokens(image), *ids[at + 1 :]]

    def fold(self, ids: Sequence[int]) -> list[int]:
        """Undo `expand`."""
        first = list(ids).index(self.token_id)
        return [*ids[: first + 1], *(token for token in ids[first + 1 :] if token != self.token_id)]

    def place(self, ids: Sequence[int]) -> int:
        """Return where the one image token of a prompt stands.

        Raises:
            InputError: There is none, so that the model would not see the image, or there are several.
        """
        if (n := sum(token == self.token_id for token in ids)) != 1:
            raise InputError(
                f"model: a prompt about one image has {n} image tokens; "
                + ("the chat template leaves the image out" if n == 0 else "a question or template must not write one")
            )
        return list(ids).index(self.token_id)

    def picture(self, image: Image) -> Picture:
        """Decode an image.

        Raises:
            InputError: It cannot be read any more, or has changed.
        """
        try:
            return load(image)
        except BadImageError as error:
            raise InputError(
                f"problem.image_column: the image {image.name} ({image.path}): {error}; every machine that generates "
                "must see the file as it was when the run began"
            ) from None

    def pixels(self, image: Image) -> tuple[torch.Tensor, torch.Tensor]:
        """Return an image as the vision tower reads it: ``[n_patches, patch]``, and its grid, ``[1, 3]``."""
        made = self.processor(images=[self.picture(image)], return_tensors="pt")
        return made["pixel_values"], made["image_grid_thw"]

    def identity(self) -> dict[str, JSON]:
        """Return what decides the pixels besides the images, for a fingerprint."""
        digest = hashlib.sha256()
        for name in _FILES:
            path = self._folder / name
            digest.update(path.read_bytes() if path.is_file() else b"")
        return {
            "made_by": _MADE_BY,
            "processor": type(self.processor).__name__,
            "processor_sha256": digest.hexdigest(),
            "pillow": version("pillow"),
        }


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
