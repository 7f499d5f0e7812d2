"""What memory that ran out is, and what is none of it; what is told stands in `integration/test_out_of_memory.py`."""

import torch

from coin_lightning.errors import is_out_of_memory


def test_which_errors_are_of_memory():
    for words in ("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried", ""):
        assert is_out_of_memory(RuntimeError(words)) is bool(words)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(ValueError("can't allocate memory"))
