# SPDX-License-Identifier: Apache-2.0
"""Resource-optimised neural architecture search for 3D medical segmentation, as a MONAI extension."""

from monai_ronas.errors import RonasError, find_error

__all__ = ["RonasError", "find_error"]
__version__ = "0.2.0"
