"""Networks of many kinds: the traced program gives what the module gives, and the integers are exact."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

from pimsim.network.importer import import_float, import_network
from pimsim.network.integer import integer_multiply
from pimsim.network.layers import Layer, Network
from pimsim.network.structure import trace_structure


def randomize(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module in evaluation mode with batch norm statistics that are not the identity."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            for value, low, high in (
                (part.running_mean, -0.5, 0.5),
                (part.running_var, 0.5, 2.0),
                (part.weight, -1.5, 1.5),
                (part.bias, -0.5, 0.5),
            ):
                value.data.uniform_(low, high, generator=generator)
    return module.eval()


class Lambda(nn.Module):
    def __init__(self, forward: Callable[..., Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.body = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self, x)


def vgg() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding="same", bias=False), nn.ReLU6(), nn.AvgPool2d(2), nn.Dropout(),
        nn.Flatten(), nn.Linear(8 * 3 * 3, 10), nn.BatchNorm1d(10), nn.LeakyReLU(), nn.Linear(10, 4),
    )  # fmt: skip


def residual() -> nn.Module:
    def body(m: nn.Module, x: Tensor) -> Tensor:
        x = functional.relu(m.bn1(m.conv1(x)))
        out = m.bn2(m.conv2(x))
        out += m.down(x)
        return m.fc(functional.adaptive_avg_pool2d(functional.relu(out), 1).flatten(1))

    return Lambda(
        body, conv1=nn.Conv2d(3, 8, 3, padding=1, bias=False), bn1=nn.BatchNorm2d(8),
        conv2=nn.Conv2d(8, 8, 3, 2, 1, bias=False), bn2=nn.BatchNorm2d(8),
        down=nn.Sequential(nn.Conv2d(8, 8, 1, 2, bias=False), nn.BatchNorm2d(8)), fc=nn.Linear(8, 5),
    )  # fmt: skip


def inception() -> nn.Module:
    def body(m: nn.Module, x: Tensor) -> Tensor:
        both = torch.cat([m.one(x), m.five(x), functional.max_pool2d(x, 3, 1, 1)], dim=1)
        return m.fc(both.mean(dim=(2, 3)))

    return Lambda(body, one=nn.Conv2d(3, 4, 1), five=nn.Conv2d(3, 6, 5, padding=2), fc=nn.Linear(13, 4))


def separable() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, groups=3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 1),
        nn.Conv2d(8, 8, 3, groups=8, stride=2), nn.Conv2d(8, 8, 3, padding=(0, 1), groups=2, dilation=(1, 2)),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(),
    )  # fmt: skip


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 16, bias=False), nn.ReLU(), nn.Linear(16, 4))


def transformer() -> nn.Module:
    def body(m: nn.Module, x: Tensor) -> Tensor:
        tokens = m.patch(x).flatten(2).transpose(1, 2)
        normed = m.norm1(tokens)
        tokens = tokens + m.attention(normed, normed, normed, need_weights=False)[0]
        tokens = tokens + m.down(functional.gelu(m.up(m.norm2(tokens))))
        return m.head(tokens.mean(dim=1))

    return Lambda(
        body, patch=nn.Conv2d(3, 8, 4, 4), norm1=nn.LayerNorm(8), norm2=nn.LayerNorm(8),
        attention=nn.MultiheadAttention(8, 2, batch_first=True), up=nn.Linear(8, 16), down=nn.Linear(16, 8),
        head=nn.Linear(8, 4),
    )  # fmt: skip


def asymmetric() -> nn.Module:
    return nn.Sequential(
        nn.ZeroPad2d((0, 1, 2, 3)), nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(),
        nn.ConstantPad2d(1, 0.5), nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(4, 4, (2, 4), padding="same"),
    )  # fmt: skip


def shared() -> nn.Module:
    def body(m: nn.Module, x: Tensor) -> Tensor:
        return m.head(torch.relu(m.fc(torch.relu(m.fc(x.flatten(1)[:, :16])))))

    return Lambda(body, fc=nn.Linear(16, 16), head=nn.Linear(16, 4))


def two_users() -> nn.Module:
    def body(m: nn.Module, x: Tensor) -> Tensor:
        out = m.conv(x)
        return (torch.relu(m.bn(out)) + out).mean(dim=(2, 3))

    return Lambda(body, conv=nn.Conv2d(3, 4, 3), bn=nn.BatchNorm2d(4))


def one_dimension() -> nn.Module:
    def body(m: nn.Module, x: Tensor) -> Tensor:
        return m.fc(torch.relu(m.bn(m.conv(x.flatten(2)))).amax(dim=2))

    return Lambda(body, conv=nn.Conv1d(3, 6, 5, 2, 2, dilation=2), bn=nn.BatchNorm1d(6), fc=nn.Linear(6, 4))


def tokens_batch_norm() -> nn.Module:
    def body(m: nn.Module, x: Tensor) -> Tensor:
        return m.bn(m.fc(x.flatten(2)))

    return Lambda(body, fc=nn.Linear(144, 5), bn=nn.BatchNorm1d(3))


def matrix() -> nn.Module:
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(144, 6))

        def forward(self, x: Tensor) -> Tensor:
            return (x.flatten(2) @ self.weight).sum(dim=1)

    return Product()


def transposed() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ConvTranspose2d(4, 3, 3, 2), nn.Sigmoid())


def normalized() -> nn.Module:
    return nn.Sequential(parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.Hardtanh(), nn.Flatten())


def pruned() -> nn.Module:
    conv = nn.Conv2d(3, 4, 3)
    prune.random_unstructured(conv, "weight", 0.5)
    return nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(400, 3))


def fixed_batch() -> nn.Module:
    def body(m: nn.Module, x: Tensor) -> Tensor:
        return torch.stack([m.fc(image.flatten()) for image in x])

    return Lambda(body, fc=nn.Linear(3 * 12 * 12, 4))


NETWORKS = (
    vgg, residual, inception, separable, mlp, transformer, asymmetric, shared, two_users, one_dimension,
    tokens_batch_norm, matrix, transposed, normalized, pruned, fixed_batch,
)  # fmt: skip
SHAPE = (3, 12, 12)


def build(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(1)
    return randomize(make())


def images(count: int = 5) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(2))


def quantized(make: Callable[[], nn.Module], bits: int = 8) -> Network:
    return import_network(build(make), weight_bits=bits, activation_bits=bits, calibration=images(16), method="max")


@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
def test_float_program_gives_the_output_of_the_module(make: Callable[[], nn.Module]) -> None:
    module = build(make)
    program, _ = import_float(module, SHAPE)
    for count in (1, 5):
        with torch.no_grad():
            expected = module(images(count))
        assert torch.allclose(program.run_float(images(count)), expected, 1e-4, 1e-5)


@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
def test_fine_quantization_comes_close_to_float(make: Callable[[], nn.Module]) -> None:
    network = quantized(make, bits=14)
    expected = network.program.run_float(images())
    outputs = network.program.run(images(), integer_multiply)
    assert outputs.dtype == torch.float32
    assert torch.allclose(outputs, expected, 0, 2e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
def test_accumulators_are_the_exact_convolution_of_the_integers(make: Callable[[], nn.Module]) -> None:
    network, seen = quantized(make), []

    def check(layer: Layer, inputs: Tensor, accumulators: Tensor) -> None:
        shape = layer.geometry
        top, bottom, left, right = shape.padding
        padded = functional.pad(inputs.double(), (left, right, top, bottom))
        weight = torch.from_numpy(layer.weight).double()
        expected = functional.conv2d(padded, weight, None, shape.stride, 0, shape.dilation, shape.groups)
        assert inputs.dtype == torch.int32
        assert accumulators.dtype == torch.int64
        assert inputs.shape[1:] == (shape.in_channels, *shape.input_size)
        assert accumulators.shape[1:] == (shape.out_channels, *shape.output_size)
        assert torch.equal(accumulators.double(), expected)
        bits, signed = layer.precision.activation_bits, layer.precision.activation_signed
        assert int(inputs.min()) >= (-(2 ** (bits - 1)) if signed else 0)
        assert int(inputs.max()) < 2 ** (bits - signed)
        seen.append(layer.name)

    network.program.run(images(), integer_multiply, check)
    assert list(dict.fromkeys(seen)) == [layer.name for layer in network.layers]


LAYERS = {
    vgg: ["0", "4", "9", "12"],
    residual: ["conv1", "conv2", "down.0", "fc"],
    inception: ["one", "five", "fc"],
    mlp: ["1", "3"],
    transformer: ["patch", "attention.in_proj", "attention.out_proj", "up", "down", "head"],
    shared: ["fc", "fc@2", "head"],
    one_dimension: ["conv", "fc"],
    transposed: ["0"],
    normalized: ["0"],
    pruned: ["0", "3"],
}


@pytest.mark.parametrize("make", LAYERS, ids=lambda make: make.__name__)
def test_layers_are_named_as_their_modules(make: Callable[[], nn.Module]) -> None:
    assert [layer.name for layer in quantized(make).layers] == LAYERS[make]


def test_geometry_of_every_convolution_form() -> None:
    one, two, three = (layer.geometry for layer in quantized(asymmetric).layers)
    assert (one.padding, one.input_size, one.output_size) == ((2, 3, 0, 1), (12, 12), (8, 6))
    assert (two.padding, two.input_size) == ((0, 0, 0, 0), (12, 10))
    assert three.padding == (0, 1, 1, 2)
    first, *_, last = (layer.geometry for layer in quantized(separable).layers)
    assert (first.groups, first.in_channels, first.out_channels) == (3, 3, 6)
    assert (last.groups, last.dilation, last.padding) == (2, (1, 2), (0, 0, 1, 1))
    line = quantized(one_dimension).layers[0].geometry
    assert (line.kernel, line.input_size, line.stride, line.padding) == ((1, 5), (1, 144), (1, 2), (0, 0, 2, 2))
    tokens = quantized(transformer).layer("up").geometry
    assert (tokens.kind, tokens.in_channels, tokens.out_channels, tokens.input_size) == ("linear", 8, 16, (9, 1))


DIGITAL = {
    vgg: ["activation", "max_pool", "activation", "average_pool", "reshape", "activation"],
    residual: ["activation", "add", "activation", "average_pool", "reshape"],
    inception: ["max_pool", "concat", "average_pool"],
    two_users: ["float", "activation", "add", "average_pool"],
    tokens_batch_norm: ["reshape", "float"],
    transposed: ["float", "float"],
}


@pytest.mark.parametrize("make", DIGITAL, ids=lambda make: make.__name__)
def test_digital_operations_are_listed_by_kind(make: Callable[[], nn.Module]) -> None:
    assert [op.kind for op in quantized(make).digital] == DIGITAL[make]


def test_digital_operations_count_elements_of_one_image() -> None:
    program, _ = import_float(build(residual), SHAPE)
    counted = [(op.kind, op.inputs, op.outputs, op.after) for op in trace_structure(program).digital]
    assert counted == [
        ("activation", 8 * 144, 8 * 144, "conv1"),
        ("add", 2 * 8 * 36, 8 * 36, "down.0"),
        ("activation", 8 * 36, 8 * 36, "down.0"),
        ("average_pool", 8 * 36, 8, "down.0"),
        ("reshape", 8, 8, "down.0"),
    ]


def test_float_operations_are_named_in_the_notes() -> None:
    assert quantized(two_users).notes[-1] == "computed in float on the digital side: batch_norm"
    assert quantized(transposed).notes[-1] == "computed in float on the digital side: conv_transpose2d, sigmoid"


def test_a_network_with_a_fixed_batch_runs_image_by_image() -> None:
    network = quantized(fixed_batch)
    assert not network.program.batched
    assert "the network fixes its batch size: images are run one by one" in network.notes


def test_pruned_weights_are_exactly_zero_and_no_others_are_dropped() -> None:
    module = build(pruned)
    layer = import_network(module, calibration=images(), quantizer="dorefa", weight_bits=4).layers[0]
    assert layer.weight is not None
    assert torch.equal(torch.from_numpy(layer.weight) == 0, module[0].weight_mask == 0)
    assert layer.weight_sparsity == pytest.approx(0.5, abs=0.01)
    assert layer.precision.weight_bits == 5


def test_batch_norm_is_folded_into_scale_and_bias_not_into_the_weight() -> None:
    module = build(residual)
    layer = import_network(module, calibration=images(), method="max", per_channel=False).layers[0]
    weight = module.conv1.weight.detach()
    step = float(weight.abs().max()) / 127
    assert layer.weight is not None and layer.weight_scale is not None and layer.bias is not None
    assert torch.equal(torch.from_numpy(layer.weight), torch.round(weight / step).long())
    gain = module.bn1.weight / (module.bn1.running_var + 1e-5).sqrt()
    bias = module.bn1.bias - module.bn1.running_mean * gain
    assert torch.allclose(torch.from_numpy(layer.weight_scale).float(), step * gain)
    assert torch.allclose(torch.from_numpy(layer.bias).float(), bias, atol=1e-6)
