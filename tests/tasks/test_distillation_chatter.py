from __future__ import annotations

import logging
import warnings

import pytest

from thickets.tasks.distillation.chatter import leave_out_chatter


@pytest.mark.parametrize("uses_vllm", [False, True])
def test_which_vllm_trl_supports_is_told_only_where_it_is_used(uses_vllm: bool) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        leave_out_chatter(uses_vllm=uses_vllm)
        warnings.warn("TRL currently supports vLLM versions from 1 to 2. You have version 3 installed.", stacklevel=1)
        warnings.warn("the learning rate is odd", stacklevel=1)
    assert len(told) == 1 + uses_vllm


def test_a_missing_model_card_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    leave_out_chatter()
    log = logging.getLogger("huggingface_hub.repocard")
    log.warning("Repo card metadata block was not found.")
    log.error("it cannot be written")
    assert [record.message for record in caplog.records] == ["it cannot be written"]
