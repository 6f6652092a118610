# SPDX-License-Identifier: Apache-2.0
"""Small stand-ins that several rooms test with."""

from __future__ import annotations

import torch
from monai.data.utils import no_collation
from monai.engines import SupervisedTrainer
from monai.losses import DiceCELoss
from torch.utils.data import DataLoader

from monai_ronas.data import ClassIndicesd, Fingerprint
from monai_ronas.engines import PatchBatch, SliceTrainer
from monai_ronas.losses import AreaDeepSupervisionLoss
from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.optimizers import Muon
from monai_ronas.space import RonasSpace


def toy_space(**kwargs):
    """A space of three stages for volumes of 16 x 16 x 8 voxels."""
    return RonasSpace((16, 16, 8), stages=3, searched_strides=(3,), dilated_stages=(2, 3), min_cells=2, **kwargs)


def toy_cases(number=3, shape=(16, 16, 8), seed=0):
    """Volumes with a bright cube, which is the label."""
    generator = torch.Generator().manual_seed(seed)
    cases = []
    for _ in range(number):
        label = torch.zeros(1, *shape)
        label[:, 4:12, 4:12, 2:6] = 1
        image = label + 0.1 * torch.randn(label.shape, generator=generator)
        cases.append(ClassIndicesd(keys="label", num_classes=2)({"image": image, "label": label}))
    return cases


def toy_slices(
    space=None, *, slice_steps=2, learning_rate=1e-2, seed=0, iteration_update=None, device="cpu", amp=False
):
    """A trainer of a small supernet on :func:`toy_cases`; ``amp``: with a scaled loss."""
    torch.manual_seed(seed)
    network = RonasSuperNet(space or toy_space(), 1, 2, channels=(2, 3, 4)).to(device)
    trainer = SupervisedTrainer(
        device=device,
        max_epochs=1,
        train_data_loader=DataLoader(toy_cases(), batch_size=2, collate_fn=no_collation),
        epoch_length=slice_steps,
        network=network,
        optimizer=Muon(network.parameters(), lr=learning_rate),
        loss_function=AreaDeepSupervisionLoss(DiceCELoss(softmax=True, batch=True)),
        prepare_batch=PatchBatch(network, batch_size=2, seed=seed),
        iteration_update=iteration_update,
        decollate=False,
        optim_set_to_none=True,
        amp=amp,
        amp_kwargs={"enabled": False},  # the network's precision is the inferer's
    )
    return SliceTrainer(trainer, network, ramp_steps=4)


def toy_fingerprint(shape, spacing=(1.0, 1.0, 1.0), *, classes=3):
    """That of volumes of one shape."""
    return Fingerprint(
        name="toy",
        spatial_dims=3,
        modality=("MRI",),
        labels={value: str(value) for value in range(classes)},
        num_cases=10,
        target_spacing=spacing,
        median_shape=shape,
        max_shape=shape,
        min_shape=shape,
        crop_foreground=False,
        normalization=({"mode": "zscore"},),
    )
