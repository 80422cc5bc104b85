from __future__ import annotations

import torch

from models.encoders.heads.token_mean import token_mean


def test_padding_does_not_count_and_a_text_without_tokens_is_zero():
    states = torch.randn(3, 4, 5, dtype=torch.float64)
    mask = torch.tensor([[True, True, True, True], [True, False, True, False], [False] * 4])
    expected = torch.stack([states[0].mean(0), (states[1, 0] + states[1, 2]) / 2, torch.zeros(5)])
    torch.testing.assert_close(token_mean(states, mask), expected)
