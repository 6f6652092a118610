# SPDX-License-Identifier: Apache-2.0
from monai_ronas.resources.macs import forward_macs

__all__ = ["forward_macs"]
