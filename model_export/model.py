"""The network: a small causal GPT over user-days whose heads are hazards of the next target event.

Pre-norm Transformer (Vaswani et al. 2017; layout after nanoGPT) without position embeddings: the time features are
in the tokens. Users are padded on the right, so causality alone keeps padding away from every real token.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from consumer.core.features import TOKEN_SIZE
from consumer.core.state import BINS, MAX_DAYS
from model_export.data import HEADS

_FARTHEST_STD = 5.0  # inputs further from the training data than this are taken as this far


@dataclass(frozen=True)
class Shape:
    """Size of the network; the defaults make ~100,000 parameters."""

    width: int = 64
    layers: int = 2
    heads: int = 4


class Attention(nn.Module):
    """Causal multi-head self-attention, (B, L, width) to (B, L, width)."""

    future: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.head_width = shape.width // shape.heads
        self.queries_keys_values = nn.Linear(shape.width, 3 * shape.width)
        self.output = nn.Linear(shape.width, shape.width)
        future = torch.full((MAX_DAYS, MAX_DAYS), -torch.inf).triu(1)
        self.register_buffer("future", future, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Mix each position with earlier ones."""
        batch, length, width = x.shape
        qkv = self.queries_keys_values(x)  # (B, L, 3 * width)
        qkv = qkv.view(batch, length, 3, self.heads, self.head_width).permute(2, 0, 3, 1, 4)
        query, key, value = qkv[0], qkv[1], qkv[2]  # (B, heads, L, head_width) each
        scores = query @ key.transpose(-2, -1) * self.head_width**-0.5  # (B, heads, L, L)
        weights = torch.softmax(scores + self.future[:length, :length], dim=-1)
        mixed = (weights @ value).transpose(1, 2).reshape(batch, length, width)
        return self.output(mixed)


class Block(nn.Module):
    """Attention, then a two-layer perceptron, each on normalised inputs and added to the residual stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(shape.width)
        self.attention = Attention(shape)
        self.perceptron_norm = nn.LayerNorm(shape.width)
        self.up = nn.Linear(shape.width, 4 * shape.width)
        self.down = nn.Linear(4 * shape.width, shape.width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, width) to the same."""
        x = x + self.attention(self.attention_norm(x))
        active = F.relu(self.up(self.perceptron_norm(x)))  # (B, L, 4 * width)
        return x + self.down(active * active)


class HazardGPT(nn.Module):
    """Tokens to log-hazards per day of silence, for every head and bin.

    `mean`, `std` (TOKEN_SIZE,) are those of the training tokens and are kept with the weights. Where `std` is 0 the
    training data knows nothing of an input, and the network ignores it. `log_hazards` (heads, BINS) is where
    training starts from: the hazards that all users have on average.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, std: Tensor, log_hazards: Tensor, shape: Shape = Shape()) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", torch.where(std > 0, 1.0 / std, 0.0))
        self.embed = nn.Linear(TOKEN_SIZE, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width)
        self.hazards = nn.Linear(shape.width, len(HEADS) * BINS)
        with torch.no_grad():
            self.hazards.weight.mul_(0.1)
            self.hazards.bias.copy_(log_hazards.flatten())

    def hidden(self, tokens: Tensor) -> Tensor:
        """Every position's summary of the user so far: (B, L, TOKEN_SIZE) to (B, L, width)."""
        standardised = (tokens - self.mean) * self.scale
        x = self.embed(standardised.clamp(-_FARTHEST_STD, _FARTHEST_STD))
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def at_every_day(self, tokens: Tensor) -> Tensor:
        """Log-hazards after each user-day, for training: (B, L, heads, BINS)."""
        return self.hazards(self.hidden(tokens)).unflatten(-1, (len(HEADS), BINS))

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Log-hazards after the last real user-day: tokens (B, L, TOKEN_SIZE), lengths (B,) to (B, heads, BINS)."""
        hidden = self.hidden(tokens)  # (B, L, width)
        last = (lengths - 1)[:, None, None].expand(-1, 1, hidden.shape[-1])
        summary = hidden.gather(1, last).squeeze(1)  # (B, width)
        return self.hazards(summary).unflatten(-1, (len(HEADS), BINS))
