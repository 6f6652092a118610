# SPDX-License-Identifier: Apache-2.0
"""Active learning in MONAI Label: what a bundle is least sure of is labelled first."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from typing import Any

import torch
from monai.utils import convert_to_tensor
from torch.distributions import Categorical

from monai_ronas.errors import find_error
from monai_ronas.networks import most_likely

logger = logging.getLogger(__name__)


def foreground_entropy(logits: torch.Tensor) -> float:
    """How unsure a prediction is, from 0 to 1.

    It is the mean over the foreground classes of this: the mean entropy of the probabilities over the voxels that are
    predicted as the class, as a part of the largest entropy that so many classes can have. A class of which no voxel is
    predicted counts 1: what the network misses altogether is to be looked at first.

    Args:
        logits: ``(C, H, W[, D])``, background first.

    Raises:
        ValueError: when there is a single channel, which holds class indices and no logits.

    Example:
        >>> sure, unsure = torch.tensor([[0.0], [9.0]]), torch.tensor([[0.0], [0.1]])
        >>> [round(foreground_entropy(logits), 3) for logits in (sure, unsure, -unsure)]
        [0.002, 0.998, 1.0]
    """
    if len(logits) == 1:
        raise ValueError("the volume is so large that only class indices fit into the memory, and no probabilities.")
    logits = convert_to_tensor(logits, track_meta=False)
    predicted, largest = most_likely(logits, dim=0)[0], math.log(len(logits))
    found = [logits[:, predicted == value] for value in range(1, len(logits))]
    means = [float(Categorical(logits=f.T).entropy().mean()) / largest if f.shape[1] else 1.0 for f in found]
    return sum(means) / len(means)


class UncertaintyScoring:
    """A scoring method of MONAI Label: how unsure a bundle is of each study that has no final label.

    The score is :func:`foreground_entropy` of the bundle's own inference, its flips and windows included. It is kept in
    the server's datastore, and made anew once the weights have changed.

    Args:
        task: the server's inference task for the bundle.
        key: what the score is called in the datastore.

    Example:
        What ``init_scoring_methods`` of an app of your own may return::

            {"uncertainty": UncertaintyScoring(self._infers["ronas_segmentation"])}
    """

    def __init__(self, task: Any, *, key: str = "uncertainty") -> None:
        self.task = task
        self.key = key

    def info(self) -> dict[str, str]:
        """What the server tells about it."""
        return {"description": "Entropy of the predicted foreground: how unsure the network is of a study"}

    def __call__(self, request: Mapping[str, Any], datastore: Any) -> dict[str, int]:
        """Score the studies; one that cannot be segmented is named in the log and has no score.

        Args:
            request: ``device`` says where the network runs. Default: a GPU where there is one.
            datastore: the server's datastore.

        Returns:
            the numbers of studies that were ``scored``, had a score of these weights already (``skipped``), and could
            not be segmented (``failed``).
        """
        device = str(request.get("device") or ("cuda" if torch.cuda.is_available() else "cpu"))
        weights, stamp = os.stat(self.task.get_path()).st_mtime, f"{self.key}_weights"
        done = {"scored": 0, "skipped": 0, "failed": 0}
        for study in sorted(datastore.get_unlabeled_images()):
            if datastore.get_image_info(study).get(stamp) == weights:
                done["skipped"] += 1
                continue
            try:
                score = self.score(datastore.get_image_uri(study), device)
            except (RuntimeError, ValueError, OSError, MemoryError) as error:
                logger.warning("the study '%s' has no score: %s", study, find_error(error) or error)
                done["failed"] += 1
                continue
            datastore.update_image_info(study, {self.key: score, stamp: weights})
            logger.info("the study '%s' has a score of %.4f", study, score)
            done["scored"] += 1
        return done

    def score(self, path: str, device: str) -> float:
        """Score of a volume.

        Args:
            path: of its file or folder.
            device: where the network runs.
        """
        data = {**self.task.config(), "image": path, "image_path": path, "device": device}
        data = self.task.run_pre_transforms(data, self.task.pre_transforms(data))
        return foreground_entropy(self.task.run_inferer(data, device=device)[self.task.output_label_key])


def add_uncertainty(app: Any) -> None:
    """Let an app of MONAI Label offer the studies first of which a bundle is least sure.

    For each bundle of this package that the app serves there are then a scoring method and a strategy of active
    learning, both called ``NAME_uncertainty``. The server scores when it starts, after each training and after each
    study that the strategy has offered, as it does with its own scoring methods. A study that was offered within the
    last day comes after the others.

    Args:
        app: the app's class, such as ``MyApp`` in ``main.py`` of the sample app ``monaibundle``.

    Example:
        The last line of that file::

            from monai_ronas.bundle import add_uncertainty; add_uncertainty(MyApp)
    """
    strategies, scoring_methods = app.init_strategies, app.init_scoring_methods

    def init_strategies(self: Any) -> dict[str, Any]:
        from monailabel.tasks.activelearning.epistemic import Epistemic  # the server has it; we do not need it else

        own = {key: Epistemic(key=key, desc=f"The study of which {name} is least sure") for key, name in _keys(self)}
        return {**strategies(self), **own}

    def init_scoring_methods(self: Any) -> dict[str, Any]:
        own = {key: UncertaintyScoring(self._infers[name], key=key) for key, name in _keys(self)}
        return {**scoring_methods(self), **own}

    app.init_strategies, app.init_scoring_methods = init_strategies, init_scoring_methods


def _keys(app: Any) -> list[tuple[str, str]]:
    """Names of scores and of the bundles of this package that they are for."""
    found = []
    for name, task in app._infers.items():
        config = getattr(task, "bundle_config", None)
        inferer = config.get("inferer") if config is not None else None  # of another bundle maybe an expression
        if isinstance(inferer, Mapping) and str(inferer.get("_target_", "")).startswith("monai_ronas."):
            found.append((f"{name}_uncertainty", name))
    return found
