"""Runs the benchmarks and prints one table: ``python benchmarks/table.py [--only WORDS] [--out FILE.json]``.

Times are the best of a few rounds on this machine. The ratio compares within the run: the event engine's time on the
same plan over the compiled engine's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

RATES = {"array_steps_per_s": "array steps/s", "images_per_s": "images/s"}


def measure(folder: Path, only: str | None) -> list[dict[str, object]]:
    """Run pytest-benchmark on this folder and read back its records."""
    here, out = Path(__file__).parent, folder / "benchmark.json"
    command = [sys.executable, "-m", "pytest", "-q", str(here), "--benchmark-only", f"--benchmark-json={out}"]
    finished = subprocess.run([*command, *(["-k", only] if only else [])], cwd=here.parent)
    if finished.returncode:
        print("some benchmarks failed; the others follow", file=sys.stderr)
    records = json.loads(out.read_text(encoding="utf-8"))["benchmarks"]
    return [{"group": r["group"], "name": r["name"], "best_s": r["stats"]["min"], **r["extra_info"]} for r in records]


def ratio(row: dict[str, object], rows: list[dict[str, object]]) -> str:
    """How many times faster than the event engine on the same plan; empty for everything else."""
    if row["group"] != "compiled engine":
        return ""
    same = str(row["name"]).replace("compiled", "event")
    slow = next((other for other in rows if other["group"] == "event engine" and other["name"] == same), None)
    return f"{float(str(slow['best_s'])) / float(str(row['best_s'])):,.0f} x" if slow else ""


def main() -> None:
    """Print the table, and keep it as JSON when asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="benchmarks to run, as pytest's -k")
    parser.add_argument("--out", type=Path, help="also write the records as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), arguments.only)
    print(f"{'group':16} {'benchmark':62} {'best':>12} {'against event':>14}  rate")
    for row in sorted(rows, key=lambda row: str(row["group"])):
        rate = ", ".join(f"{row[key]:,} {unit}" for key, unit in RATES.items() if key in row)
        best = 1e3 * float(str(row["best_s"]))
        print(f"{row['group']:16} {row['name']:62} {best:9.2f} ms {ratio(row, rows):>14}  {rate}")
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
