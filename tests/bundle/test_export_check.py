# SPDX-License-Identifier: Apache-2.0
"""On what an exported bundle is checked before it is left."""

from pathlib import Path

import nibabel as nib
import numpy as np

from monai_ronas.bundle import BundleExporter, check

from .exporting import FACTS, result_of, supernet_of


def test_the_check_is_done_on_a_part_of_a_large_case(study, tmp_path, monkeypatch):
    monkeypatch.setattr(check, "_MOST_VOXELS", 6000)
    supernet = supernet_of(study)
    sizes, images = [], []
    supernet.register_forward_pre_hook(lambda module, inputs: sizes.append(tuple(inputs[0].shape[2:])))
    geometry = check._check_geometry

    def note(image, output):
        images.append((image.name, nib.load(image).shape))
        geometry(image, output)

    monkeypatch.setattr(check, "_check_geometry", note)
    supernet.train()
    patch = supernet.space.patch(supernet.space.base)
    assert np.prod(patch) > 6000
    BundleExporter(tmp_path / "bundle", study, supernet, **FACTS).run(result_of(supernet.space.base), seconds=1.0)
    assert supernet.training
    ((name, shape),) = images
    assert name == "part.nii"
    assert np.prod(shape) <= 6000
    assert all(np.prod(size) <= 6000 for size in sizes)
    assert sizes


def test_the_check_reads_reward_cases_alone(study, tmp_path, monkeypatch):
    """What it takes must not grow with the data set: the time of a search is spent when it is done."""
    supernet = supernet_of(study)
    read = []
    opened = nib.load

    def load(path, **kwargs):
        read.append(Path(path))
        return opened(path, **kwargs)

    monkeypatch.setattr(nib, "load", load)
    BundleExporter(tmp_path / "bundle", study, supernet, **FACTS).run(result_of(supernet.space.base), seconds=1.0)
    own = {path for path in read if study.dataset.root in path.parents}
    assert own <= {path for case in study.cases("reward") for path in (*case.images, case.label)}
    assert any(path.name == "label.nii" for path in read)


def test_a_small_case_is_checked_whole_and_the_supernet_is_not_copied(study, tmp_path, monkeypatch):
    monkeypatch.setattr(check, "_MOST_VOXELS", 10**9)
    supernet = supernet_of(study)
    runs = []
    supernet.register_forward_hook(lambda module, inputs, outputs: runs.append(module is supernet))
    BundleExporter(tmp_path / "bundle", study, supernet, **FACTS).run(result_of(supernet.space.largest), seconds=1.0)
    assert runs == [True]
    assert supernet.architecture == supernet.space.largest
