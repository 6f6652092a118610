# SPDX-License-Identifier: Apache-2.0
from monai_ronas.resources.macs import forward_macs
from monai_ronas.resources.memory import inference_bytes, one_shot_voxels

__all__ = ["forward_macs", "inference_bytes", "one_shot_voxels"]
