"""Lets a Transformers model see images: its vision tower's features, and the prompts that hold them, read in a batch.

Every image goes through the vision tower by itself, so that what a question's answer depends on is that image and not
what else is in the batch. Candidates leave the tower alone unless the configuration says otherwise, so its features are
computed once and kept for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from thickets.tasks.engines.images import ImageReader
from thickets.tasks.types import Image

# On the host; of Qwen2.5-VL-3B an image of 640 x 480 takes 1.6 MB in bfloat16. What does not fit is computed again.
_MOST_KEPT_BYTES = 1 << 30


class ImageFeatures:
    """Computes and keeps the features of images."""

    def __init__(self, model: Any, reader: ImageReader, most_kept: int = _MOST_KEPT_BYTES) -> None:
        """Compute nothing yet.

        Args:
            model: A vision-language model.
            reader: Reads its images.
            most_kept: Most bytes of features to keep.
        """
        self._model, self.reader, self._most_kept = model, reader, most_kept
        self._kept: dict[str, torch.Tensor] = {}
        self._n_kept = 0

    def forget(self) -> None:
        """Keep nothing: the weights of the vision tower have changed."""
        self._kept, self._n_kept = {}, 0

    def of(self, image: Image) -> torch.Tensor:
        """Return what the language model reads of an image: ``[n_tokens, width]``, on the model's device."""
        found = self._kept.get(image.sha256)
        if found is None:
            found = self._compute(image)
            if self._n_kept + found.nbytes <= self._most_kept:
                self._kept[image.sha256] = found.cpu()
                self._n_kept += found.nbytes
        return found.to(self._model.device)

    @torch.inference_mode()
    def _compute(self, image: Image) -> torch.Tensor:
        pixels, grid = self.reader.pixels(image)
        device = self._model.device
        found = self._model.get_image_features(pixels.to(device), grid.to(device), return_dict=True)
        features: torch.Tensor = torch.cat(list(found.pooler_output))
        return features


@torch.inference_mode()
def embed(
    features: ImageFeatures, model: Any, inputs: torch.Tensor, mask: torch.Tensor, images: Sequence[Image | None]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return whole prompts as a language model reads them, with their images in the places of the image tokens.

    Args:
        features: Of images.
        model: The model.
        inputs: Token ids, ``[n_rows, n_columns]``, padded.
        mask: 1 where a token is not padding, likewise.
        images: One per row; None: the row has none.

    Returns:
        Embeddings, ``[n_rows, n_columns, width]``, and the position of every token by time, height and width,
        ``[3, n_rows, n_columns]``.
    """
    token_id = features.reader.token_id
    embeddings: torch.Tensor = model.get_input_embeddings()(inputs).clone()
    is_image = (inputs == token_id) & (mask == 1)
    found = [None if image is None else features.of(image) for image in images]
    for row, each in enumerate(found):
        if each is not None:
            embeddings[row, is_image[row]] = each.to(embeddings.dtype)
    grids = [features.reader.grid(image) for image in images if image is not None]
    positions, _ = model.model.get_rope_index(
        inputs,
        mm_token_type_ids=is_image.to(torch.int32),
        image_grid_thw=torch.tensor(grids, device=inputs.device),
        attention_mask=mask,
    )
    return embeddings, positions
