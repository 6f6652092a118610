# SPDX-License-Identifier: Apache-2.0
"""From a prediction on the network's grid to classes on the image's own."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Invertd, MapTransform
from monai.utils import convert_to_tensor

_SLABS = 16


class InvertToClassesd(MapTransform):
    """The most likely class of every voxel of the image, by probabilities that are brought to its grid.

    It gives what ``Activationsd`` (softmax), ``Invertd`` and ``AsDiscreted`` (argmax) give one after the other, but one
    class at a time, so that beside the prediction it needs the memory of a few single channels. A prediction that holds
    class indices (see :class:`~monai_ronas.networks.PadToStrideInferer`) is brought there by the nearest voxel.

    Args:
        keys: keys of logits ``(C, X, Y, Z)``, which are overwritten, or of class indices ``(1, X, Y, Z)``.
        transform: the preprocessing, which is inverted.
        orig_keys: key of the preprocessed image.
    """

    def __init__(self, keys: KeysCollection, *, transform: Any, orig_keys: str = "image") -> None:
        super().__init__(keys)
        self.orig_key = orig_keys
        self.linear, self.nearest = (
            {k: Invertd(k, transform=transform, orig_keys=orig_keys, nearest_interp=nearest) for k in self.keys}
            for nearest in (False, True)
        )

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the predictions by class indices, float32, ``(1, X, Y, Z)`` on the image's own grid."""
        item = dict(data)
        for key in self.key_iterator(item):
            prediction = convert_to_tensor(item[key], track_meta=False)
            item[key] = self._classes(item, key, prediction)
        return item

    def _classes(self, item: Mapping[Hashable, Any], key: Hashable, prediction: torch.Tensor) -> torch.Tensor:
        def inverted(inverse: Mapping[Hashable, Invertd], channel: torch.Tensor) -> torch.Tensor:
            return on_image_grid(channel, item[self.orig_key], inverse[key], key=key, orig_key=self.orig_key)

        if len(prediction) == 1:
            return inverted(self.nearest, prediction.float())
        for part in prediction.split(max(1, -(-prediction.shape[1] // _SLABS)), dim=1):
            part.copy_(part.softmax(dim=0))
        best = inverted(self.linear, prediction[:1])
        classes = torch.zeros_like(best.as_tensor() if isinstance(best, MetaTensor) else best)
        largest = convert_to_tensor(best, track_meta=False).clone()
        for index in range(1, len(prediction)):
            probability = convert_to_tensor(inverted(self.linear, prediction[index : index + 1]), track_meta=False)
            classes[probability > largest] = index
            torch.maximum(largest, probability, out=largest)
        return MetaTensor(classes).copy_meta_from(best) if isinstance(best, MetaTensor) else classes


def on_image_grid(
    channel: torch.Tensor, image: Any, inverse: Invertd, *, key: Hashable = "pred", orig_key: str = "image"
) -> torch.Tensor:
    """Bring a channel from the network's grid to the image's own.

    Args:
        channel: ``(1, H, W, D)``.
        image: the preprocessed image.
        inverse: of the preprocessing, for ``key``.
        key: of the channel in ``inverse``.
        orig_key: of the image there.

    Returns:
        ``(1, X, Y, Z)``.
    """
    found: torch.Tensor = inverse({orig_key: image, key: MetaTensor(channel)})[key]
    return found
