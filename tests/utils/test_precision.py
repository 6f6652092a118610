# SPDX-License-Identifier: Apache-2.0
"""Cards of several generations, feigned."""

import pytest
import torch

from monai_ronas.utils import half_type, has_fast_bfloat16, has_fast_half, needs_loss_scaling

CARDS = {"GTX 1080": (6, 1), "V100": (7, 0), "RTX 2080 Ti": (7, 5), "A100": (8, 0), "H100": (9, 0)}


@pytest.mark.parametrize("card", CARDS)
def test_a_card_without_bfloat16_computes_in_float16_where_that_is_fast(card, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: CARDS[card])
    device = torch.device("cuda:0")
    native, tensor_cores = card in ("A100", "H100"), card != "GTX 1080"
    assert has_fast_bfloat16(device) == native
    assert has_fast_half(device) == tensor_cores
    assert half_type(device) == (torch.bfloat16 if native else torch.float16)
    assert needs_loss_scaling(device, amp=True) == (not native)
    assert not needs_loss_scaling(device, amp=False)


def test_a_cpu_has_bfloat16_or_nothing(monkeypatch):
    for supported in (True, False):
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
            monkeypatch.setattr(torch.cpu, name, lambda s=supported: s, raising=False)
        assert has_fast_half("cpu") == has_fast_bfloat16("cpu") == supported
        assert half_type("cpu") == torch.bfloat16
        assert not needs_loss_scaling("cpu", amp=True)
