"""A trained network apart from its module: what a change of structure starts from and ends with."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pimsim.network.checkpoints import Checkpoint, State
from pimsim.network.quantizers import LayerQuantization, broadcast_scale, dorefa_scale, quantize_weight
from pimsim.network.rewrites import RewriteRecord, rebuild
from pimsim.network.state_matching import match
from pimsim.pruning.checkpoint_writer import layer_records
from pimsim.pruning.fake_quantization import (
    QuantizationOptions,
    attach_quantizers,
    restore_quantizers,
    trained_layers,
)
from pimsim.pruning.masks import mask_layers


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """Weights with the structure that they need.

    Attributes:
        structure: rewrites of the user's network, as in the metadata of a checkpoint.
        state: state dict of the rewritten network; pruned weights are zero.
        masks: layer name to mask, where there is one.
        records: layer name to quantization; empty for a float network.
    """

    structure: tuple[RewriteRecord, ...]
    state: State
    masks: State
    records: dict[str, LayerQuantization]

    def rebuild(self, build: Callable[[], nn.Module]) -> nn.Module:
        """The network with these weights, in float. Raises `CheckpointError` when they do not fit."""
        network = rebuild(build(), self.structure)
        network.load_state_dict(self.state)
        return network

    def without(self, layers: Collection[str]) -> TrainedNetwork:
        """The same without the masks and quantization of ``layers``."""
        return replace(
            self,
            masks={name: mask for name, mask in self.masks.items() if name not in layers},
            records={name: record for name, record in self.records.items() if name not in layers},
        )

    def effective_weight(self, layer: str) -> Tensor:
        """The weight of a layer as its integers stand for it; the float weight where nothing is quantized."""
        weight, record, mask = self.state[f"{layer}.weight"], self.records.get(layer), self.masks.get(layer)
        if record is None:
            return weight
        return integer_weight(weight, record, mask)


def integer_weight(weight: Tensor, record: LayerQuantization, mask: Tensor | None) -> Tensor:
    """A weight as its integers stand for it, code times scale."""
    codes = quantize_weight(weight, record, mask).to(weight.dtype)
    if record.weight_quantizer == "dorefa":
        return codes * dorefa_scale(weight, record.weight_bits, mask)
    return codes * broadcast_scale(record.weight_scale, weight)


@dataclass(frozen=True, eq=False)
class Round:
    """One change of structure.

    Attributes:
        network: after it, before any training.
        lines: what changed, a line each, for the card and the screen.
        final: whether the method has no further round.
    """

    network: TrainedNetwork
    lines: tuple[str, ...]
    final: bool = False


def read_trained(source: Checkpoint, build: Callable[[], nn.Module]) -> TrainedNetwork:
    """The network of a checkpoint. Raises `CheckpointError` when it does not fit what ``build`` makes."""
    structure = tuple(source.structure)
    fitted = match(source.state, rebuild(build(), structure, str(source.path)), str(source.path))
    masks = {name.removesuffix(".weight"): mask for name, mask in fitted.masks.items()}
    records = {name: LayerQuantization.from_dict(values) for name, values in source.quantization.items()}
    return TrainedNetwork(structure, fitted.state, masks, records)


def trainable(
    trained: TrainedNetwork, build: Callable[[], nn.Module], options: QuantizationOptions, restore: bool = True
) -> nn.Module:
    """The network with masks and quantizers attached; those with a record are enabled when ``restore``.

    Raises:
        QuantizationError: a record with other bits than ``options``.
    """
    network = trained.rebuild(build)
    mask_layers(network, trained.masks)
    attach_quantizers(network, options)
    if restore:
        restore_quantizers(network, trained.records, partly=True)
    return network


@torch.no_grad()
def take_trained(network: nn.Module, structure: tuple[RewriteRecord, ...]) -> TrainedNetwork:
    """What a network that was trained with masks and quantizers has learned."""
    layers = trained_layers(network)
    state = {
        key.removesuffix("_orig"): value.detach().contiguous().clone()
        for key, value in network.state_dict().items()
        if "quantizer" not in key.split(".") and not key.endswith(".weight_mask")
    }
    masks = {n: layer.weight_mask.clone() for n, layer in layers.items() if not bool(layer.weight_mask.all())}
    for name, mask in masks.items():
        state[f"{name}.weight"] *= mask
    quantized = all(layer.quantizer.is_enabled for layer in layers.values())
    return TrainedNetwork(structure, state, masks, layer_records(network) if quantized else {})
