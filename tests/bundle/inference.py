# SPDX-License-Identifier: Apache-2.0
"""An exported ``inference.json``, run as MONAI's command runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_ronas import find_error
from monai_ronas.bundle.configs import Derived
from monai_ronas.bundle.inference_config import inference_config


def run_inference(derived: Derived, root: Path, **changes: Any) -> str | None:
    """The sentence with which ``inference.json`` of the bundle in ``root`` ends, if there is one.

    Args:
        derived: what the configuration says.
        root: the folder of the bundle, with ``models/model.pt``.
        changes: keys of the configuration and what they are changed to, ``dataset_dir`` and ``output_dir`` among them.
    """
    parser = ConfigParser(inference_config(derived))
    for key, value in {"bundle_root": str(root), "device": "cpu", **changes}.items():
        parser[key] = value
    try:
        for number in range(len(parser["run"])):
            parser.get_parsed_content(f"run#{number}")
    except RuntimeError as error:
        return str(find_error(error))
    return None
