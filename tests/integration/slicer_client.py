# SPDX-License-Identifier: Apache-2.0
"""What 3D Slicer's module of MONAI Label asks a server, in its order and with its parameters, printed as JSON.

It runs in the server's environment, where the client lies that the module has a copy of, and its table of colours:
``python slicer_client.py URL MODEL STUDY FILE``, where the segmentation is written to ``FILE``.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path


def first_options(config: dict) -> dict:
    """The parameters that the module sends where nobody has touched its table of options."""
    return {name: value[0] if isinstance(value, list) else value for name, value in config.items()}


def main(url: str, name: str, study: str, path: Path) -> dict:
    """Ask for a study, its segmentation, and save it as its label."""
    from monailabel.client import MONAILabelClient  # the tests' own environment, which collects this file, has none
    from monailabel.datastore.utils.colors import GENERIC_ANATOMY_COLORS

    client = MONAILabelClient(url, str(path.parent), "user-xyz")
    assert not client.auth_enabled()
    info = client.info()
    model = info["models"][name]
    offered = client.next_sample(f"{name}_uncertainty", {})
    params = {**first_options(model["config"]), "result_extension": ".nrrd", "result_dtype": "uint8"}
    file, told = client.infer(name, study, params)
    shutil.copy(file, path)
    segments = [label for label, _ in sorted(told["label_names"].items(), key=lambda item: item[1])]
    label_info = [{"name": label, "idx": n + 1} for n, label in enumerate(segments)]
    client.save_label(study, file, params={"label_info": label_info})
    return {
        "config": info.get("config"),
        "labels": info["labels"],
        "model": {key: model[key] for key in ("type", "labels")},
        "offered": offered["id"],
        "segments": segments,
        "colours": {label: GENERIC_ANATOMY_COLORS[label] for label in segments if label in GENERIC_ANATOMY_COLORS},
    }


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:4], Path(sys.argv[4]))))
