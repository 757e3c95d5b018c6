"""How the cost of a run grows with its size: ``python benchmarks/growth.py [--out FOLDER]``.

Plays variations of ResNet-18 on ``isaac-like-8b``, layers pipelined, and draws seconds over windows, images, layers and
arrays; one line each with the jump over the steady state, without it, and (up to a limit) by the event engine. Writes
``growth.json`` and ``growth.png``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from placing import SHAPES, placed

from pimsim.hardware.loading import load_chip
from pimsim.hardware.records import Chip
from pimsim.network.layers import Geometry, Layer, Network
from pimsim.network.shapes import load_shapes
from pimsim.simulation import compiled, event
from pimsim.simulation.assigning import assign
from pimsim.simulation.pipeline import build_network_plan
from pimsim.simulation.plan import NetworkPlan

Play = Callable[..., object]
#: Each engine, and the seconds after which it is not tried on larger plans.
ENGINES: dict[str, tuple[Play, float]] = {
    "compiled": (compiled.play, 8.0),
    "compiled, no jump": (partial(compiled.play, jump=False), 3.0),
    "event": (event.play, 3.0),
}
STYLES = {"compiled": ("o", "-"), "compiled, no jump": ("s", "--"), "event": ("^", ":")}


def plan_of(network: Network, chip: Chip, images: int = 1) -> NetworkPlan:
    """The plan of a network, all layers at the same time."""
    works = assign(network, placed(network, chip, "im2col"), chip, resident=True).works
    return build_network_plan(network, works, chip, images)


def by_windows(network: Network, chip: Chip) -> Iterator[tuple[int, NetworkPlan]]:
    """Input sides from 56 to 1792: the windows of all layers of one image."""
    for side in (56, 112, 224, 448, 896, 1792):
        layers = tuple(replace(layer, geometry=_scaled(layer.geometry, side)) for layer in network.layers)
        plan = plan_of(replace(network, layers=layers, edges=network.edges), chip)
        yield sum(layer.windows for layer in plan.layers), plan


def _scaled(geometry: Geometry, side: int) -> Geometry:
    if geometry.kind == "linear":
        return geometry
    height, width = (max(1, size * side // 224) for size in geometry.input_size)
    return replace(geometry, input_size=(height, width))


def by_images(network: Network, chip: Chip) -> Iterator[tuple[int, NetworkPlan]]:
    """Images in flight."""
    plan = plan_of(network, chip)
    for images in (1, 10, 100, 1000, 10000):
        yield images, replace(plan, images=images)


def by_layers(network: Network, chip: Chip) -> Iterator[tuple[int, NetworkPlan]]:
    """Equal convolutions of 64 channels at 56x56, one behind the other."""
    for count in (2, 4, 8, 16, 32, 64):
        layers = [Layer(Geometry(f"l{i}", 64, 64, (3, 3), (56, 56), padding=(1, 1, 1, 1))) for i in range(count)]
        yield count, plan_of(Network("chain", tuple(layers)), chip)


def by_arrays(network: Network, chip: Chip) -> Iterator[tuple[int, NetworkPlan]]:
    """One convolution at 28x28 with more and more channels."""
    for channels in (64, 128, 256, 512, 1024):
        layer = Layer(Geometry("conv", channels, channels, (3, 3), (28, 28), padding=(1, 1, 1, 1)))
        plan = plan_of(Network("conv", (layer,)), chip)
        yield sum(stage.jobs[0].units for stage in plan.layers[0].named("array")), plan


AXES = {"windows": by_windows, "images": by_images, "layers": by_layers, "arrays": by_arrays}


def measure() -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Seconds by axis and engine; an engine stops on an axis when a point took longer than its limit."""
    network, chip = load_shapes(SHAPES / "resnet18.yaml"), load_chip("isaac-like-8b")
    compiled.play(plan_of(Network("warm", network.layers[:1]), chip))
    found: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for axis, points in AXES.items():
        found[axis] = {name: [] for name in ENGINES}
        stopped: set[str] = set()
        for size, plan in points(network, chip):
            for name, (play, limit) in ENGINES.items():
                if name in stopped:
                    continue
                seconds = _time(play, plan)
                found[axis][name].append((size, seconds))
                if seconds > limit:
                    stopped.add(name)
    return found


def _time(play: Play, plan: NetworkPlan) -> float:
    """Seconds of one run; the better of two where it is short."""
    taken = []
    for _ in range(2):
        begin = time.perf_counter()
        play(plan, marks=[()] * len(plan.layers))
        taken.append(time.perf_counter() - begin)
        if taken[0] > 1:
            break
    return min(taken)


def draw(found: dict[str, dict[str, list[tuple[int, float]]]], path: Path) -> None:
    """Four panels, both axes logarithmic; told apart by marker and dash as well as by colour."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    for axes, (axis, engines) in zip(figure.subplots(2, 2).flat, found.items(), strict=True):
        for name, points in engines.items():
            marker, dash = STYLES[name]
            axes.plot(*zip(*points, strict=True), marker=marker, linestyle=dash, label=name)
        axes.set(xscale="log", yscale="log", xlabel=axis, ylabel="seconds")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Measure, write the numbers and the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "history")
    folder = parser.parse_args().out
    found = measure()
    (folder / "growth.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    draw(found, folder / "growth.png")
    for axis, engines in found.items():
        for name, points in engines.items():
            print(f"{axis:8} {name:18}", "  ".join(f"{size:,}: {seconds:.3f} s" for size, seconds in points))


if __name__ == "__main__":
    main()
