# SPDX-License-Identifier: Apache-2.0
"""Resource-optimised neural architecture search for 3D medical segmentation, as a MONAI extension."""

__version__ = "0.1.0"
