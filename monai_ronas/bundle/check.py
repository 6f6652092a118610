# SPDX-License-Identifier: Apache-2.0
"""The check that a derived bundle passes before it is left."""

from __future__ import annotations

import contextlib
import logging
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigWorkflow, verify_net_in_out
from monai.networks import eval_mode

from monai_ronas.data import Study, build_preprocessing
from monai_ronas.data.formats import NIFTI, ending
from monai_ronas.data.reading import read_volume
from monai_ronas.data.sizes import case_values
from monai_ronas.networks import PadToStrideInferer
from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.space import Architecture

_MOST_VOXELS = 2_000_000


def check_bundle(root: Path, network: RonasSuperNet, architecture: Architecture, study: Study) -> None:
    """Load a bundle back with MONAI's own tools and let it segment the smallest reward case, or a part of it.

    ``verify_net_in_out`` runs, the configurations for inference and training lack no property, the weights load
    strictly, the prediction file has the image's geometry, and the logits of the bundle's own preprocessing, network
    and inferer equal those of the supernet with the search's preprocessing: bit for bit on a CPU, on a CUDA device,
    whose kernels need not repeat themselves, within a thousandth of the largest logit. All runs on the supernet's
    device in float32. Flips are left out.

    What the check needs is bounded: of a case that exceeds the training patch, a part of that size is segmented, and
    where the patch has more than two million voxels, a smaller one takes its place. That part is all that the
    configuration for training is given; the data set is not read.

    Args:
        root: the bundle's folder.
        network: the supernet; it is left with ``architecture`` selected.
        architecture: the derived architecture.
        study: the data of the search.

    Raises:
        RuntimeError: when one of this does not hold.
    """
    device = next(network.parameters()).device
    case = min(study.cases("reward"), key=lambda c: case_values(c).label)
    network.select(architecture)
    roi_size = _bounded(network.patch, network.divisor)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        image = _part(case.images, Path(folder), study.fingerprint.target_spacing, roi_size)
        (Path(folder) / "out").mkdir()
        logits, inferer = _segment(root, image, Path(folder) / "out", device, roi_size)
        inputs = build_preprocessing(study.fingerprint, keys=("image",))({"image": str(image)})["image"][None]
    own = PadToStrideInferer(max_voxels=inferer.max_voxels, roi_size=roi_size)
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # as the bundle's: other kernels
    with eval_mode(network):
        expected = cast(torch.Tensor, own(inputs.to(device), network)).to(logits.device)
    tolerance = 0.0 if device.type == "cpu" else 1e-3 * float(expected.abs().max())
    if logits.shape != expected.shape or not torch.allclose(logits, expected, rtol=0.0, atol=tolerance):
        raise RuntimeError("the exported network does not give the output of the search's own network.")


def _load(path: Path) -> nib.Nifti1Image:
    return cast(nib.Nifti1Image, nib.load(path))


def _bounded(patch: Sequence[int], divisor: Sequence[int]) -> tuple[int, ...]:
    """The training patch, with its longest axis halved until it has at most two million voxels."""
    size = list(patch)
    while math.prod(size) > _MOST_VOXELS:
        axis = max(range(len(size)), key=lambda k: size[k] / divisor[k])
        if size[axis] <= divisor[axis]:
            break
        size[axis] = math.ceil(size[axis] / 2 / divisor[axis]) * divisor[axis]
    return tuple(size)


def _part(paths: Sequence[Path], folder: Path, spacing: Sequence[float], size: Sequence[int]) -> Path:
    """An image, or a file of its part that has at most ``size`` voxels an axis on its own grid and when resampled.

    The part is where the image is brightest, so that it is not cropped to nothing as background; where it would have
    one value throughout, where values differ most along its longest axis.

    Args:
        paths: the image, or its channels.
        folder: where the file of a part is written.
        spacing: to which the bundle resamples (mm), axes in RAS order.
        size: likewise.
    """
    nifti = len(paths) == 1 and ending(paths[0]) in NIFTI
    image = _load(paths[0]) if nifti else nib.Nifti1Image(*read_volume(paths, real=True))
    shape, zooms = image.shape[:3], image.header.get_zooms()[:3]
    axes = nib.io_orientation(image.affine)[:, 0].astype(int)
    fits = [max(1, int(size[k] * min(1.0, spacing[k] / zoom))) for k, zoom in zip(axes, zooms, strict=True)]
    if all(n <= most for n, most in zip(shape, fits, strict=True)):
        if nifti:
            return paths[0]
        nib.save(image, folder / "part.nii")
        return folder / "part.nii"
    data = np.asanyarray(image.dataobj)
    part = _around(np.unravel_index(int(np.argmax(data)), data.shape), shape, fits)
    if data[part].min() == data[part].max():
        axis = int(np.argmax(fits))
        change = np.abs(np.diff(data.astype(np.float32), axis=axis))
        centre = list(np.unravel_index(int(np.argmax(change)), change.shape))
        centre[axis] += 1
        part = _around(centre, shape, fits)
    nib.save(image.slicer[part], folder / "part.nii")
    return folder / "part.nii"


def _background(image: Path, folder: Path) -> Path:
    """The file of a label of the image's geometry, in which nothing is labelled."""
    of = _load(image)
    path = folder / "label.nii"
    nib.save(nib.Nifti1Image(np.zeros(of.shape[:3], np.uint8), of.affine), path)
    return path


def _around(centre: Sequence[Any], shape: Sequence[int], size: Sequence[int]) -> tuple[slice, ...]:
    """The box of a size around a voxel, moved to where it is inside the volume."""
    box = []
    for middle, n, most in zip(centre[:3], shape, size, strict=True):
        first = min(max(int(middle) - most // 2, 0), max(n - most, 0))
        box.append(slice(first, first + most))
    return tuple(box)


def _segment(
    root: Path, image: Path, output: Path, device: torch.device, roi_size: Sequence[int]
) -> tuple[torch.Tensor, PadToStrideInferer]:
    """What the bundle makes of an image, by MONAI's own ways of opening it; its logits and its inferer."""
    configs = root / "configs"
    shape: dict[str, Any] = {"_meta_#network_data_format#inputs#image#spatial_shape": list(roi_size)}
    verify_net_in_out(
        "network_def",
        meta_file=str(configs / "metadata.json"),
        config_file=str(configs / "inference.json"),
        device=str(device),
        **shape,
    )
    changes: dict[str, Any] = {
        "bundle_root": str(root),
        "device": str(device),
        "amp": False,
        "output_dir": str(output),
    }
    smaller = {"inferer#flips": [], "inferer#transposed_axes": None, "inferer#roi_size": list(roi_size)}
    inference = _workflow(configs, "inference", datalist=[str(image)], **changes, **smaller)
    case = {"image": str(image), "label": str(_background(image, output.parent))}
    train = _workflow(configs, "train", datalist={"train": [case], "validate": [case]}, **changes)
    missing = [*(inference.check_properties() or []), *(train.check_properties() or [])]
    if missing:
        raise RuntimeError(f"the exported bundle lacks the properties {missing}.")
    weights = torch.load(root / "models" / "model.pt", map_location=device, weights_only=True)
    inference.parser.get_parsed_content("network").load_state_dict(weights, strict=True)
    inference.run()
    _check_geometry(image, output)
    preprocessed = inference.parser.get_parsed_content("preprocessing")({"image": str(image)})["image"][None]
    network, inferer = (inference.parser.get_parsed_content(name) for name in ("network", "inferer"))
    inferer.result_gb = None  # logits are compared, which a small memory leaves no room for
    with torch.no_grad():
        return inferer(preprocessed.as_tensor().to(device), network.eval()), inferer


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
    source, prediction = (_load(path) for path in (image, written[0]))
    same = source.shape[:3] == prediction.shape and np.allclose(source.affine, prediction.affine, atol=1e-3)
    if not same:
        raise RuntimeError(f"the prediction of inference.json has not the geometry of its image {image}.")
