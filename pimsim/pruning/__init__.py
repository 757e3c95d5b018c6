"""Training for the crossbar: quantization-aware, with or without a pruning method.

:func:`pimsim.pruning.prune.prune` is the way in; importing this package alone does not
import torch.
"""
