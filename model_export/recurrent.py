"""The same task with a GRU in the Transformer's place: an ablation, never exported."""

import torch
from torch import Tensor, nn

from model_export.model import HazardGPT, Scales, Shape


class HazardGRU(HazardGPT):
    """Two GRU layers over the same inputs, of about as many parameters."""

    def __init__(self, scales: Scales, log_hazards: Tensor, shape: Shape = Shape()) -> None:
        super().__init__(scales, log_hazards, shape)
        self.blocks = nn.ModuleList()
        self.body = nn.GRU(shape.width, 96, num_layers=2, batch_first=True)
        self.project = nn.Linear(96, shape.width)

    def hidden(self, tokens: Tensor, shop: Tensor) -> tuple[Tensor, Tensor]:
        """See `HazardGPT.hidden`; it keeps nothing."""
        x, first = self.embedded(tokens, shop)
        batch = x.shape[0]
        out, _ = self.body(torch.cat((first.expand(batch, -1, -1), x), dim=1))
        return self.norm(x + self.project(out[:, 1:])), x.new_zeros(0)
