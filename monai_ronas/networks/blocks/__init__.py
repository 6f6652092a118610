# SPDX-License-Identifier: Apache-2.0
"""The searchable blocks, which also work alone in any MONAI network."""

from monai_ronas.networks.blocks.conv_block import SearchableConvBlock
from monai_ronas.networks.blocks.down_sample import SearchableDownSample
from monai_ronas.networks.blocks.stages import DecoderStage, EncoderStage
from monai_ronas.networks.blocks.sum_skip import SumSkip

__all__ = ["DecoderStage", "EncoderStage", "SearchableConvBlock", "SearchableDownSample", "SumSkip"]
