# SPDX-License-Identifier: Apache-2.0
"""The check that a derived bundle passes before it is left behind."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigWorkflow, verify_net_in_out

from monai_ronas.data import Study, build_preprocessing
from monai_ronas.networks import PadToStrideInferer
from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.space import Architecture


def check_bundle(root: Path, network: RonasSuperNet, architecture: Architecture, study: Study) -> None:
    """Load a bundle back with MONAI's own tools and let it segment the smallest reward case.

    ``verify_net_in_out`` runs, the configurations for inference and training lack no property, the weights load
    strictly, the prediction file has the image's geometry, and the logits of the bundle's own preprocessing, network
    and inferer equal those of the supernet with the search's preprocessing bit for bit, on the CPU in float32. Flips
    are left out.

    Args:
        root: the bundle's folder.
        network: the supernet.
        architecture: the derived architecture.
        study: the data of the search.

    Raises:
        RuntimeError: when one of this does not hold.
    """
    case = min(study.cases("reward"), key=lambda c: math.prod(cast(nib.Nifti1Image, nib.load(c.image)).shape))
    with tempfile.TemporaryDirectory() as output, _quiet():
        logits, inferer = _segment(root, case.image, Path(output), study)
    reference = copy.deepcopy(network).cpu().eval().to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    reference.select(architecture)
    inputs = build_preprocessing(study.fingerprint, keys=("image",))({"image": str(case.image)})["image"][None]
    with torch.no_grad():
        own = PadToStrideInferer(max_voxels=inferer.max_voxels)(inputs, reference)
    if not torch.equal(logits, cast(torch.Tensor, own)):
        raise RuntimeError("the exported network does not give the output of the search's own network.")


def _segment(root: Path, image: Path, output: Path, study: Study) -> tuple[torch.Tensor, PadToStrideInferer]:
    """What the bundle makes of an image, by MONAI's own ways of opening it; its logits and its inferer."""
    configs = root / "configs"
    verify_net_in_out(
        "network_def",
        meta_file=str(configs / "metadata.json"),
        config_file=str(configs / "inference.json"),
        device="cpu",
    )
    changes: dict[str, Any] = {"bundle_root": str(root), "device": "cpu", "amp": False, "output_dir": str(output)}
    inference = _workflow(configs, "inference", datalist=[str(image)], **changes, **{"inferer#flips": []})
    train = _workflow(configs, "train", dataset_dir=str(study.dataset.root), **changes)
    missing = [*(inference.check_properties() or []), *(train.check_properties() or [])]
    if missing:
        raise RuntimeError(f"the exported bundle lacks the properties {missing}.")
    weights = torch.load(root / "models" / "model.pt", weights_only=True)
    inference.parser.get_parsed_content("network").load_state_dict(weights, strict=True)
    inference.run()
    _check_geometry(image, output)
    preprocessed = inference.parser.get_parsed_content("preprocessing")({"image": str(image)})["image"][None]
    network, inferer = (inference.parser.get_parsed_content(name) for name in ("network", "inferer"))
    with torch.no_grad():
        return inferer(preprocessed.as_tensor(), network.eval()), inferer


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what MONAI logs of every bundle that it opens out of the search's log."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _workflow(configs: Path, name: str, **changes: Any) -> ConfigWorkflow:
    """The workflow of a configuration, made ready; without its own ``initialize``, which would set the random state."""
    workflow = ConfigWorkflow(
        config_file=str(configs / f"{name}.json"),
        meta_file=str(configs / "metadata.json"),
        logging_file=False,
        workflow_type=name,
        initialize=[],
        **changes,
    )
    workflow.initialize()
    return workflow


def _check_geometry(image: Path, output: Path) -> None:
    written = list(output.iterdir())
    if len(written) != 1:
        raise RuntimeError(f"inference.json wrote {len(written)} files for one volume.")
    source, prediction = (cast(nib.Nifti1Image, nib.load(path)) for path in (image, written[0]))
    same = source.shape[:3] == prediction.shape and np.allclose(source.affine, prediction.affine, atol=1e-3)
    if not same:
        raise RuntimeError(f"the prediction of inference.json has not the geometry of its image {image}.")
