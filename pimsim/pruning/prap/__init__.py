"""PRAP-PIM: weight patterns of equal shape, and patterns that repeat others up to a power of two.

A *weight pattern* is what one operation unit holds of one output channel: the weights of a *channel group* of G
input channels at p kernel positions each, G p = 8 (`OU_ROWS`). Shape pruning gives every channel group at most eight
choices of positions; similarity-based reuse replaces most patterns by a shifted copy of a kept one, so that its
operation unit need not be activated. Everything here is numpy on plain arrays: weights are (OC, IC, K_h, K_w) or
(OC, IC).

Reference:
    Z. Shen et al., "PRAP-PIM: A weight pattern reusing aware pruning method for ReRAM-based PIM DNN accelerators",
    High-Confidence Computing 3(2), 2023, 100123; `pruning-blocks.md` 3, after the authors' public experiment
    (1084413909/PRAP-PIM). No text of the paper was available.
"""

from pimsim.pruning.prap.comparators import orc_mask, structure_mask
from pimsim.pruning.prap.gain import LogicalGain, logical_gain
from pimsim.pruning.prap.groups import OU_ROWS, PatternGrid
from pimsim.pruning.prap.indices import IndexCost, index_cost
from pimsim.pruning.prap.modes import MODES, Mode, prap_mode
from pimsim.pruning.prap.reuse import Reuse, identical_reuse, similar_reuse
from pimsim.pruning.prap.scales import SCALE_BINS, fine_codes, power_of_two_scale, scale_statistics
from pimsim.pruning.prap.shapes import shape_mask
from pimsim.pruning.prap.units import busiest_conversions, ou_rows, read_columns

__all__ = [
    "MODES",
    "OU_ROWS",
    "SCALE_BINS",
    "IndexCost",
    "LogicalGain",
    "Mode",
    "PatternGrid",
    "Reuse",
    "busiest_conversions",
    "fine_codes",
    "identical_reuse",
    "index_cost",
    "logical_gain",
    "orc_mask",
    "ou_rows",
    "power_of_two_scale",
    "prap_mode",
    "read_columns",
    "scale_statistics",
    "shape_mask",
    "similar_reuse",
    "structure_mask",
]
