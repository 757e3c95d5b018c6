"""Which layers share channels: what must shrink together when a filter is taken out of a network.

The network is traced with ``torch.fx``. Channels that are added to each other, normalized together or read by the
next layer form one *space*: the filters of its writers and the inputs of its readers stand for the same channels.
Channels that an operation reaches in a way that is not understood here are never offered for pruning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from pimsim.errors import NetworkError
from pimsim.network.layers import Geometry

#: A value's channels: spaces one after another, each channel repeated for the positions that were flattened into it.
Layout = tuple[tuple[int, int], ...]

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_PLAIN_MODULES = (
    nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Hardswish,
    nn.Hardsigmoid, nn.Hardtanh, nn.Softplus, nn.Mish, nn.Dropout, nn.Dropout2d, nn.MaxPool2d, nn.AvgPool2d,
    nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Upsample, nn.ZeroPad2d,
)  # fmt: skip
_PLAIN = frozenset({
    "relu", "relu_", "relu6", "leaky_relu", "elu", "gelu", "silu", "sigmoid", "tanh", "hardswish", "hardsigmoid",
    "hardtanh", "softplus", "mish", "clamp", "clamp_min", "dropout", "dropout2d", "max_pool2d", "avg_pool2d",
    "adaptive_avg_pool2d", "adaptive_max_pool2d", "interpolate", "contiguous", "clone", "neg", "abs", "detach",
})  # fmt: skip
_JOINING = frozenset({"add", "add_", "iadd", "sub", "mul", "imul", "mul_", "truediv", "maximum", "minimum"})
_POOLING = frozenset({"mean", "sum", "amax"})


@dataclass(frozen=True)
class Space:
    """Channels that shrink together.

    Attributes:
        name: the first layer that writes them.
        channels: how many.
        writers: layers whose filters they are.
        followers: batch norms and depthwise convolutions, with one parameter or kernel for each channel.
        readers: shapes of the ordinary convolutions that read these channels and no others, in order of execution.
        prunable: whether every use of them is understood.
    """

    name: str
    channels: int
    writers: tuple[str, ...]
    followers: tuple[str, ...]
    readers: tuple[Geometry, ...]
    prunable: bool


@dataclass(frozen=True)
class ChannelPad:
    """A zero padding of channels, the parameter-free shortcut of a ResNet that widens.

    Attributes:
        node: name of its node in the traced graph.
        source: space of the channels before.
        target: space after.
        before: zero channels in front.
    """

    node: str
    source: str
    target: str
    before: int


@dataclass(frozen=True, eq=False)
class ChannelMap:
    """All spaces of a network.

    Attributes:
        spaces: by name, in order of execution; those without a writer are left out.
        reads: layer to the spaces of its input, each with the positions flattened into one channel.
        writes: layer, batch norm or depthwise convolution to the space that it writes.
        pads: channel paddings between spaces.
        traced: the network as a graph over its own modules.
        input_shape: (C, H, W) that it was traced with.
    """

    spaces: MappingProxyType[str, Space]
    reads: MappingProxyType[str, tuple[tuple[str, int], ...]]
    writes: MappingProxyType[str, str]
    pads: tuple[ChannelPad, ...]
    traced: fx.GraphModule
    input_shape: tuple[int, int, int]


def map_channels(module: nn.Module, input_shape: Sequence[int]) -> ChannelMap:
    """The spaces of a network for images of ``input_shape`` (C, H, W).

    Raises:
        NetworkError: ``torch.fx`` cannot trace it, or it cannot take such images.
    """
    shape = (int(input_shape[0]), int(input_shape[1]), int(input_shape[2]))
    traced = _traced(module, shape)
    walk = _Walk(dict(traced.named_modules()))
    for node in traced.graph.nodes:
        walk.visit(node)
    return walk.result(traced, shape)


def _traced(module: nn.Module, shape: tuple[int, int, int]) -> fx.GraphModule:
    try:
        traced = fx.symbolic_trace(module.eval())
        with torch.no_grad():
            ShapeProp(traced).propagate(torch.zeros(2, *shape))
    except Exception as error:  # torch.fx raises many kinds, and the reason is in the text
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise NetworkError(
            f"network {type(module).__name__} that torch.fx cannot trace ({reason[0].rstrip('.')})",
            "which channels belong together is read from the traced network",
            None,
            "Remove control flow that depends on the values of the images",
        ) from error
    return traced


@dataclass
class _Walk:
    """Visits a graph in order and joins spaces; one per graph."""

    modules: dict[str, nn.Module]
    parent: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    frozen: set[int] = field(default_factory=set)
    layouts: dict[str, Layout] = field(default_factory=dict)
    reads: dict[str, Layout] = field(default_factory=dict)
    shapes: dict[str, Geometry] = field(default_factory=dict)
    writes: dict[str, int] = field(default_factory=dict)
    follows: dict[str, int] = field(default_factory=dict)
    pads: list[tuple[str, int, int, int]] = field(default_factory=list)

    def visit(self, node: fx.Node) -> None:
        """One node: its layout, and what it ties together."""
        shape = _shape(node)
        layout = None if node.op in ("placeholder", "output", "get_attr") else self._rule(node)(node)
        if layout is None:
            self._freeze(node)
            layout = self._frozen_space(shape)
        self.layouts[node.name] = layout

    def _rule(self, node: fx.Node) -> Callable[[fx.Node], Layout | None]:
        if node.op == "call_module":
            return self._module
        name = str(getattr(node.target, "__name__", node.target))
        if name == "getattr" or name in ("size", "dim"):
            return lambda _: ()  # sizes, not values
        rules: dict[str, Callable[[fx.Node], Layout | None]] = {
            "pad": self._pad, "cat": self._cat, "concat": self._cat, "flatten": self._flatten,
            "view": self._view, "reshape": self._view, "getitem": self._part,
        }  # fmt: skip
        if name in rules:
            return rules[name]
        if name in _JOINING:
            return self._join
        if name in _POOLING:
            return self._pool
        return self._same if name in _PLAIN else lambda _: None

    def _module(self, node: fx.Node) -> Layout | None:
        name, module = str(node.target), self.modules[str(node.target)]
        if isinstance(module, _NORMS):
            return self._follow(name, node)
        if isinstance(module, nn.Conv2d):
            depthwise = module.groups == module.in_channels == module.out_channels > 1
            return self._follow(name, node) if depthwise else self._layer(name, node, module.groups == 1)
        if isinstance(module, nn.Linear):
            return self._layer(name, node, len(_shape(node)) == 2)
        if isinstance(module, nn.Flatten):
            return self._flatten(node) if (module.start_dim, module.end_dim) == (1, -1) else None
        return self._same(node) if isinstance(module, _PLAIN_MODULES) else None

    def _layer(self, name: str, node: fx.Node, plain: bool) -> Layout | None:
        """A convolution or linear layer: it reads one layout and writes a space of its own."""
        if not plain:
            return None
        source = self._input(node)
        if name in self.reads:
            self._unite(self.reads[name], source)
        self.reads[name] = source
        if isinstance(self.modules[name], nn.Conv2d):
            self.shapes[name] = _geometry(name, self.modules[name], _shape(_tensor(node)))
        if name not in self.writes:
            self.writes[name] = self._space(_shape(node)[1])
        return ((self.writes[name], 1),)

    def _follow(self, name: str, node: fx.Node) -> Layout | None:
        """A batch norm or depthwise convolution: one parameter for each channel of a single space."""
        source = self._input(node)
        if len(source) != 1 or source[0][1] != 1:
            return None
        if name in self.follows:
            self._unite(((self.follows[name], 1),), source)
        self.follows[name] = source[0][0]
        return source

    def _same(self, node: fx.Node) -> Layout | None:
        return self._input(node) if _shape(node)[:2] == _shape(_tensor(node))[:2] else None

    def _join(self, node: fx.Node) -> Layout | None:
        tensors = [arg for arg in node.args[:2] if isinstance(arg, fx.Node) and len(_shape(arg)) > 1]
        if any(isinstance(arg, fx.Node) and len(_shape(arg)) == 1 for arg in node.args[:2]):
            return None
        wide = [arg for arg in tensors if _shape(arg)[1:2] == _shape(node)[1:2]]
        narrow = [arg for arg in tensors if arg not in wide]
        if any(_shape(arg)[1] != 1 or len(_shape(arg)) != len(_shape(node)) for arg in narrow) or not wide:
            return None
        first, *others = (self.layouts[arg.name] for arg in wide)
        for other in others:
            self._unite(first, other)
        return first

    def _pool(self, node: fx.Node) -> Layout | None:
        dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        spatial = isinstance(dims, (tuple, list)) and len(_shape(_tensor(node))) == 4
        chosen = {dim % 4 for dim in dims if isinstance(dim, int)} if spatial else set()  # type: ignore[union-attr]
        return self._input(node) if chosen and chosen <= {2, 3} else None

    def _pad(self, node: fx.Node) -> Layout | None:
        """Zeros around images leave the channels alone; zeros beside the channels start a new space."""
        amounts, source = node.args[1], self._input(node)
        zero = _is_zero_pad(node) and isinstance(amounts, (tuple, list)) and all(isinstance(n, int) for n in amounts)
        if not zero or len(_shape(node)) != 4 or not isinstance(amounts, (tuple, list)):
            return None
        beside = [*amounts, 0, 0, 0, 0][4:6]
        if not any(beside):
            return source
        if len(amounts) != 6 or len(source) != 1 or min(beside) < 0:
            return None
        target = self._space(_shape(node)[1])
        self.pads.append((node.name, source[0][0], target, int(beside[0])))
        return ((target, 1),)

    def _cat(self, node: fx.Node) -> Layout | None:
        dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        parts = node.args[0]
        if dim not in (1, 1 - len(_shape(node))) or not isinstance(parts, (tuple, list)):
            return None
        return tuple(segment for part in parts if isinstance(part, fx.Node) for segment in self.layouts[part.name])

    def _flatten(self, node: fx.Node) -> Layout | None:
        before, after = _shape(_tensor(node)), _shape(node)
        if len(after) != 2 or len(before) < 2:
            return None
        positions = after[1] // before[1]
        return tuple((space, repeat * positions) for space, repeat in self._input(node))

    def _view(self, node: fx.Node) -> Layout | None:
        # Only with -1 does the network not count on the number of channels.
        return self._flatten(node) if node.args[-1] == -1 and len(node.args) == 3 else None

    def _part(self, node: fx.Node) -> Layout | None:
        source = _tensor(node)
        if not _shape(source):
            return ()
        index = node.args[1]
        everything = isinstance(index, tuple) and len(index) > 1 and index[:2] == (slice(None), slice(None))
        return self.layouts[source.name] if everything and len(_shape(node)) == len(_shape(source)) else None

    def _input(self, node: fx.Node) -> Layout:
        return self.layouts[_tensor(node).name]

    def _space(self, channels: int) -> int:
        self.parent.append(len(self.parent))
        self.sizes.append(channels)
        return len(self.parent) - 1

    def _frozen_space(self, shape: tuple[int, ...]) -> Layout:
        if len(shape) < 2:
            return ()
        space = self._space(shape[1])
        self.frozen.add(space)
        return ((space, 1),)

    def _freeze(self, node: fx.Node) -> None:
        for source in node.all_input_nodes:
            self.frozen.update(space for space, _ in self.layouts[source.name])

    def _unite(self, one: Layout, other: Layout) -> None:
        if [(self.sizes[s], r) for s, r in one] != [(self.sizes[s], r) for s, r in other]:
            self.frozen.update(space for space, _ in (*one, *other))
            return
        for (left, _), (right, _) in zip(one, other, strict=True):
            first, second = sorted((self._root(left), self._root(right)))
            self.parent[second] = first

    def _root(self, space: int) -> int:
        while self.parent[space] != space:
            space = self.parent[space]
        return space

    def result(self, traced: fx.GraphModule, shape: tuple[int, int, int]) -> ChannelMap:
        """The spaces with their names, once every node was visited."""
        frozen = {self._root(space) for space in self.frozen}
        names: dict[int, str] = {}
        for layer, space in self.writes.items():
            names.setdefault(self._root(space), layer)
        spaces = {name: self._described(root, name, root not in frozen) for root, name in names.items()}
        named = {space: names.get(self._root(space), "") for space in range(len(self.parent))}
        reads = {layer: tuple((named[s], r) for s, r in layout) for layer, layout in self.reads.items()}
        writes = {layer: named[space] for layer, space in (*self.writes.items(), *self.follows.items())}
        pads = tuple(ChannelPad(node, named[a], named[b], before) for node, a, b, before in self.pads)
        return ChannelMap(
            MappingProxyType(spaces), MappingProxyType(reads), MappingProxyType(writes), pads, traced, shape
        )

    def _described(self, root: int, name: str, prunable: bool) -> Space:
        def members(layers: dict[str, int]) -> tuple[str, ...]:
            return tuple(layer for layer, space in layers.items() if self._root(space) == root)

        readers = tuple(
            shape for layer, shape in self.shapes.items()
            if [(self._root(space), repeat) for space, repeat in self.reads[layer]] == [(root, 1)]
        )  # fmt: skip
        return Space(name, self.sizes[root], members(self.writes), members(self.follows), readers, prunable)


def _shape(node: Any) -> tuple[int, ...]:
    """Shape of a node's value; empty where it is no tensor."""
    meta = node.meta.get("tensor_meta") if isinstance(node, fx.Node) else None
    shape = getattr(meta, "shape", None)
    return () if shape is None else tuple(shape)


def _tensor(node: fx.Node) -> fx.Node:
    """The value that a node works on: its first input."""
    return node.all_input_nodes[0]


def _is_zero_pad(node: fx.Node) -> bool:
    given = dict(zip(("mode", "value"), node.args[2:], strict=False)) | dict(node.kwargs)
    return given.get("mode", "constant") == "constant" and given.get("value") in (None, 0, 0.0)


def _geometry(name: str, module: Any, shape: tuple[int, ...]) -> Geometry:
    """Shape of a convolution whose input is (N, C, H, W)."""
    top, left = (0, 0) if isinstance(module.padding, str) else module.padding
    padding = (top, top, left, left)
    if module.padding == "same":
        extra = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        padding = (extra[0] // 2, extra[0] - extra[0] // 2, extra[1] // 2, extra[1] - extra[1] // 2)
    return Geometry(
        name, module.in_channels, module.out_channels, module.kernel_size, (shape[2], shape[3]), module.stride,
        padding, module.dilation, module.groups,
    )  # fmt: skip
