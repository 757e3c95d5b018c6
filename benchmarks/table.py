"""Runs the benchmarks and prints one table: ``python benchmarks/table.py [--out FILE.json]``.

Times are the best of a few rounds on this machine; the last column compares within the run, with the event
engine's whole network as 1.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def measure(folder: Path) -> list[dict[str, object]]:
    """Run pytest-benchmark on this folder and read back its records."""
    here, out = Path(__file__).parent, folder / "benchmark.json"
    command = [sys.executable, "-m", "pytest", "-q", str(here), "--benchmark-only", f"--benchmark-json={out}"]
    subprocess.run(command, check=True, cwd=here.parent)
    records = json.loads(out.read_text(encoding="utf-8"))["benchmarks"]
    return [{"group": r["group"], "name": r["name"], "best_s": r["stats"]["min"], **r["extra_info"]} for r in records]


def main() -> None:
    """Print the table, and keep it as JSON when asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="also write the records as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder))
    whole = next(float(str(row["best_s"])) for row in rows if row["name"] == "test_simulate_resnet20")
    print(f"{'group':14} {'benchmark':42} {'best':>12} {'ratio':>8}  rate")
    for row in rows:
        best = float(str(row["best_s"]))
        rate = ", ".join(f"{row[key]:,} {key}" for key in ("array_steps_per_s", "images_per_s") if key in row)
        print(f"{row['group']:14} {row['name']:42} {best * 1e3:9.2f} ms {best / whole:8.3f}  {rate}")
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
