"""Lets vLLM 0.32 read images for a model of Qwen2.5-VL's kind as the Transformers engine does, torchvision or not.

vLLM asks Transformers for the model's processor. Where torchvision is there, its pixels are torchvision's, which differ
a little from Pillow's; where it is not, as beside the CPU build, neither the processor (which insists on videos) nor
vLLM's own module of the model can be imported at all. So vLLM is given a processor of images and text alone, whose
images are ours.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from thickets.tasks.engines.images import ImageReader
from thickets.tasks.types import Image

OPTIONS = {"limit_mm_per_prompt": {"image": 1, "video": 0}}
"""Of `vllm.LLM`."""
_ARCHITECTURE = "Qwen2_5_VLForConditionalGeneration"
_TORCHVISION_ONLY = "transformers.models.qwen2_vl.image_processing_qwen2_vl"
_MOST_KEPT_BYTES = 1 << 29


def let_vllm_see(folder: Path, max_length: int) -> None:
    """Make vLLM's model of this kind read images with our processor; to be called before `vllm.LLM` is made.

    Args:
        folder: The checkpoint.
        max_length: Most tokens of a prompt and its answer: no image can have more, so none larger is tried out when
            vLLM measures its memory (Qwen's own limit is 16,384, which takes a CPU minutes).

    Raises:
        InputError: The checkpoint has no image processor that can be read.
    """
    if importlib.util.find_spec("torchvision") is None:
        _stand_in()
    from transformers import Qwen2_5_VLProcessor
    from transformers.processing_utils import ProcessorMixin
    from vllm import ModelRegistry
    from vllm.model_executor.models import qwen2_5_vl as theirs
    from vllm.multimodal import MULTIMODAL_REGISTRY

    image_processor = ImageReader(folder).processor

    class ImagesAndText(Qwen2_5_VLProcessor):
        """Their processor without videos."""

        def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None) -> None:
            self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
            tokens = [self.image_token, self.video_token]
            self.image_token_id, self.video_token_id = tokenizer.convert_tokens_to_ids(tokens)
            ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    class Info(theirs.Qwen2_5_VLProcessingInfo):
        """What vLLM asks about the processor."""

        def get_hf_processor(self, **kwargs: object) -> Any:
            return ImagesAndText(image_processor, self.get_tokenizer())

        def get_supported_mm_limits(self) -> dict[str, int | None]:
            return {"image": None}

        def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Any) -> dict[str, int]:
            return {"image": self.get_max_image_tokens()}

        def get_image_size_with_most_features(self, max_pixels: int | None = None) -> Any:
            side = int(image_processor.patch_size) * int(image_processor.merge_size)
            most = max(min(image_processor.size["longest_edge"], max_length * side**2), side**2)
            return super().get_image_size_with_most_features(most if max_pixels is None else min(most, max_pixels))

    model = getattr(theirs, _ARCHITECTURE)
    if "_processor_factory" in vars(model):
        del model._processor_factory  # theirs; vLLM warns of one that is replaced
    register = MULTIMODAL_REGISTRY.register_processor(
        theirs.Qwen2_5_VLMultiModalProcessor, info=Info, dummy_inputs=theirs.Qwen2_5_VLDummyInputsBuilder
    )
    # By its class: vLLM inspects a model that it knows by name in a process of its own, where nothing stands in.
    ModelRegistry.register_model(_ARCHITECTURE, register(model))


def _stand_in() -> None:
    """Put the two names that vLLM takes from a module that needs torchvision into one that does not."""
    from transformers.models.qwen2_vl import image_processing_pil_qwen2_vl as pillows

    module = ModuleType(_TORCHVISION_ONLY)
    module.__dict__.update(smart_resize=pillows.smart_resize, Qwen2VLImageProcessor=pillows.Qwen2VLImageProcessorPil)
    sys.modules.setdefault(_TORCHVISION_ONLY, module)


class Pictures:
    """Decodes images for vLLM, and keeps the first ones: every candidate is asked about the same."""

    def __init__(self, reader: ImageReader, most_kept: int = _MOST_KEPT_BYTES) -> None:
        self._reader, self._left = reader, most_kept
        self._kept: dict[str, Any] = {}

    def request(self, row: list[int], image: Image | None) -> dict[str, Any]:
        """Return a prompt as vLLM takes it.

        Args:
            row: Token ids as the model reads them.
            image: Its image; None: it has none.
        """
        if image is None:
            return {"prompt_token_ids": row}
        return {
            "prompt_token_ids": self._reader.fold(row),  # vLLM repeats the image token itself
            "multi_modal_data": {"image": self._picture(image)},
            "multi_modal_uuids": {"image": image.sha256},
        }

    def _picture(self, image: Image) -> Any:
        found = self._kept.get(image.sha256)
        if found is None:
            found = self._reader.picture(image)
            size = 3 * image.width * image.height
            if size <= self._left:
                self._kept[image.sha256] = found
                self._left -= size
        return found
