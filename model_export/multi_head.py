"""The same network with keys and values for every head, at full precision: an ablation, never exported."""

import torch
from torch import Tensor, nn

from model_export.model import Attention, HazardGPT, Scales, Shape


class MultiHeadAttention(Attention):
    """Causal self-attention as Vaswani et al. 2017 have it; what is kept of a day is `heads` times as much."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.key_value = nn.Linear(shape.width, 2 * shape.heads * shape.head_width)

    def of_shop(self, shop: Tensor) -> tuple[Tensor, Tensor]:
        """See `Attention.of_shop`; the memory is (S, 1, 2 * heads * head_width)."""
        memory = self.key_value(shop)
        return self.output(memory.chunk(2, dim=-1)[1]), memory

    def memory(self, x: Tensor) -> Tensor:
        """See `Attention.memory`; not rounded."""
        memory: Tensor = self.key_value(x)
        return memory

    def mixed(self, x: Tensor, memory: Tensor, hidden: Tensor) -> Tensor:
        """See `Attention.mixed`."""
        queries, keys, values = (self._by_head(each) for each in (self.queries(x), *memory.chunk(2, dim=-1)))
        scores = (queries @ keys.transpose(-2, -1)) * self.head_width**-0.5 + hidden
        mixed = torch.softmax(scores, dim=-1) @ values
        return self.output(mixed.transpose(1, 2).flatten(2))

    def _by_head(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.heads, self.head_width).transpose(1, 2)


class HazardMultiHead(HazardGPT):
    """All else as it is."""

    def __init__(self, scales: Scales, log_hazards: Tensor, shape: Shape = Shape()) -> None:
        super().__init__(scales, log_hazards, shape)
        for block in self.layers:
            block.attention = MultiHeadAttention(shape)
