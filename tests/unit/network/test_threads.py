"""Short work runs on one thread, and the threads come back."""

from __future__ import annotations

import pytest
import torch

from pimsim.network.threads import one_thread


def test_the_threads_come_back_after_an_error() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ValueError, match="inside"), one_thread():
            assert torch.get_num_threads() == 1
            raise ValueError("inside")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
