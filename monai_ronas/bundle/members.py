# SPDX-License-Identifier: Apache-2.0
"""The members of a bundle's ensemble: weights of its network on the way through the final training."""

from __future__ import annotations

import hashlib
import logging
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from monai_ronas.bundle.steps import require_weights
from monai_ronas.errors import SettingError
from monai_ronas.utils import write_atomically

logger = logging.getLogger(__name__)
MEMBERS = "members.pth"  # not .pt: MONAI Label offers every .pt as a model of its own
_UNREADABLE = (RuntimeError, ValueError, KeyError, TypeError, EOFError, OSError, pickle.UnpicklingError)


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_members(models: Path, members: Sequence[Mapping[str, torch.Tensor]]) -> None:
    """Write the members of the ensemble beside ``model.pt``, with its digest, or nothing without members."""
    if members:
        content = {"model": digest_of(models / "model.pt"), "members": [dict(member) for member in members]}
        write_atomically(models / MEMBERS, lambda file: torch.save(content, file))


def read_members(models: Path) -> list[dict[str, torch.Tensor]]:
    """The members of the ensemble; none, with a warning, where there are none of the present ``model.pt``.

    Raises:
        SettingError: when their file cannot be read, or ``model.pt`` is missing.
    """
    path = models / MEMBERS
    if not path.is_file():
        logger.warning("no models/%s: the uncertainty is that of the single network over its flips", MEMBERS)
        return []
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        members: list[dict[str, torch.Tensor]] = [dict(member) for member in content["members"]]
        of_model = content["model"]
    except _UNREADABLE as error:
        raise SettingError(f"models/{MEMBERS} cannot be read: restore it, or remove it to do without.") from error
    require_weights(models / "model.pt")
    if of_model != digest_of(models / "model.pt"):
        logger.warning(
            "models/%s belongs to another models/model.pt, such as that before a training: it is left out, and the "
            "temperature is that of the search",
            MEMBERS,
        )
        return []
    return members
