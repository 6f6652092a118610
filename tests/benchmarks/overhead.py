# SPDX-License-Identifier: Apache-2.0
"""What a search costs beside the training that it does.

    python -m tests.benchmarks.overhead --dataset_dir DATA --output_dir OUT [--episodes 4 ...]

Runs a search with a fixed number of steps, then trains the base network alone for as many steps in the same way (same
crops, loss, precision). Prints the ratio of the two, from the first training step to the last, how the time of the
search is shared, and what its checkpoints and the verification of the data took; writes ``overhead.json``. Further
arguments are passed to both commands.
"""

import argparse
import json
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

SEARCH = Path(__file__).resolve().parents[2] / "bundles" / "ronas" / "configs" / "search.json"
STAMP = r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) INFO "


def log_of(output: Path, arguments: list[str]) -> str:
    """Run a search; returns its log."""
    command = [sys.executable, "-m", "monai.bundle", "run", "search", "--config_file", str(SEARCH)]
    done = subprocess.run(
        [*command, "--output_dir", str(output), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return done.stdout + done.stderr


def moment(log: str, text: str) -> float:
    """Seconds of the first line of the log that begins with ``text``."""
    found = re.search(STAMP + text, log, flags=re.MULTILINE)
    if found is None:
        raise SystemExit(f"the log has no line {text!r}")
    return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f").timestamp()


def steps_of(log: str, text: str) -> int:
    """The number of steps that a line tells."""
    return int(re.search(text, log)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    given, rest = parser.parse_known_args()
    data = ["--dataset_dir", given.dataset_dir, "--resume", "false", *rest]
    search = log_of(given.output_dir / "search", data)
    lengths = re.findall(r"(?:trial \d+|final training): (\d+) steps", search)
    steps = steps_of(search, r"candidates: \d+, after (\d+) steps") + sum(int(length) for length in lengths)
    begins = [moment(search, text) for text in ("warm-up", "episode 1", "trial 1", "final training", "trained")]
    only = ["--warmup_epochs", "0", "--controller#exploitation#finalists", "1", "--episodes", "0"]
    alone = log_of(given.output_dir / "alone", [*data, *only, "--controller#exploitation#final_steps", str(steps)])
    own_steps = steps_of(alone, r"trained: (\d+) steps")
    training = (moment(alone, "trained") - moment(alone, "final training")) / own_steps * steps
    whole = begins[-1] - begins[0]
    report = {
        "steps": steps,
        "search_seconds": whole,
        "training_seconds": training,
        "ratio": whole / training,
        "warm-up and first episode": begins[1] - begins[0],
        "other episodes and candidates": begins[2] - begins[1],
        "trials": begins[3] - begins[2],
        "final training": begins[4] - begins[3],
        "checkpoints": sum(float(s) for s in re.findall(r"checkpoint \S+ in (\S+) s", search)),
        "verification of the data": float(re.findall(r"verified: \d+ cases in (\S+) s", search)[0]),
    }
    for name, value in report.items():
        print(f"{name:>30} {value:10.2f}")
    (given.output_dir / "overhead.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
