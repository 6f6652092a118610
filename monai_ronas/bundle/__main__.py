# SPDX-License-Identifier: Apache-2.0
"""``python -m monai_ronas.bundle init FOLDER`` writes the search bundle to a folder."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from monai_ronas.bundle.command_line import sentence
from monai_ronas.bundle.search_bundle import init_search_bundle


def main(words: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m monai_ronas.bundle", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    init = commands.add_parser("init", help="write the search bundle to a new folder")
    init.add_argument("folder", metavar="FOLDER", help="the new folder")
    folder = parser.parse_args(words).folder
    try:
        init_search_bundle(folder)
    except (ValueError, OSError) as error:
        told = sentence(error, again="run the command again")
        if told is None:
            raise
        print(f"monai_ronas: {told}", file=sys.stderr)
        return 1
    search = shlex.quote(str(Path(folder) / "configs" / "search.json"))
    print(f"The search bundle is in '{folder}'. The next command searches a network for the data set in DATA:\n")
    print(f"    python -m monai.bundle run search --config_file {search} --dataset_dir DATA\n")
    print("Without --dataset_dir it searches on a small synthetic data set that it makes.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
