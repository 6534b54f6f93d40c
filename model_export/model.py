"""The network: a small causal GPT over user-days whose heads are hazards of the next target event.

Pre-norm Transformer (Vaswani et al. 2017; layout after nanoGPT) without position embeddings: the time features are
in the tokens. One shop token goes before the user-days; it attends to itself alone, so its keys and values are the
same for all of a shop's users. Queries have several heads, keys and values one (multi-query attention, Shazeer 2019):
what a user's past days cost to keep is small. Users are padded on the right, so causality alone keeps padding away
from every real token.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from consumer.core.features import TOKEN_SIZE
from consumer.core.state import BINS, MAX_DAYS
from model_export.data import HEADS
from model_export.shop import SHOP_SIZE

_FARTHEST_STD = 5.0  # inputs further from the training data than this are taken as this far


@dataclass(frozen=True)
class Shape:
    """Size of the network; the defaults make ~100,000 parameters."""

    width: int = 64
    layers: int = 2
    heads: int = 4
    head_width: int = 16
    body: Literal["transformer", "multi_head", "gru"] = "transformer"


@dataclass(frozen=True)
class Scales:
    """Mean and standard deviation of the training data's inputs, kept with the weights.

    Where a deviation is 0 the training data knows nothing of an input, and the network ignores it.
    """

    token_mean: Tensor  # (TOKEN_SIZE,)
    token_std: Tensor
    shop_mean: Tensor  # (SHOP_SIZE,)
    shop_std: Tensor


class Attention(nn.Module):
    """Causal multi-query self-attention; the shop's key and value go before all others.

    What is kept of a past day is half as wide as what is computed with, and seen so by that day itself as well: then
    it makes no difference to the bit whether a day's keys and values were just computed or kept. The softmax is
    written out so that padding is added as exact zeros in the order of days: neither it nor the batch changes a bit.
    """

    future: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.head_width = shape.heads, shape.head_width
        self.queries = nn.Linear(shape.width, shape.heads * shape.head_width)
        self.key_value = nn.Linear(shape.width, 2 * shape.head_width)
        self.output = nn.Linear(shape.heads * shape.head_width, shape.width)
        future = torch.full((MAX_DAYS, MAX_DAYS), -torch.inf).triu(1)
        self.register_buffer("future", future, persistent=False)

    def of_shop(self, shop: Tensor) -> tuple[Tensor, Tensor]:
        """What the shop token (S, 1, width) makes of itself, and its key and value (S, 1, 2 * head_width)."""
        memory = self.key_value(shop)
        return self.output(memory[..., self.head_width :].repeat(1, 1, self.heads)), memory

    def memory(self, x: Tensor) -> Tensor:
        """Keys and values of user-days (B, L, width) as they are kept: (B, L, 2 * head_width)."""
        memory: Tensor = self.key_value(x)
        return memory if self.training else memory.half()

    def mixed(self, x: Tensor, memory: Tensor, hidden: Tensor) -> Tensor:
        """Queries of (B, L, width) over `memory` (B, K, 2 * head_width); `hidden` (…, L, K) is -inf where unseen."""
        batch, length, _ = x.shape
        keys, values = memory[..., : self.head_width], memory[..., self.head_width :]
        queries = self.queries(x).view(batch, length, self.heads, self.head_width).transpose(1, 2)
        queries = queries.reshape(batch, self.heads * length, self.head_width)  # all heads ask the same keys
        scores = (queries @ keys.transpose(-2, -1)) * self.head_width**-0.5
        scores = scores + hidden.repeat(*[1] * (hidden.dim() - 2), self.heads, 1)
        weights = torch.exp(scores - scores.amax(dim=-1, keepdim=True))
        summed = weights @ F.pad(values, (0, 1), value=1.0)  # the last column is the sum of the weights
        mixed = (summed[..., :-1] / summed[..., -1:]).view(batch, self.heads, length, self.head_width)
        mixed = mixed.transpose(1, 2).reshape(batch, length, -1)
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

    def perceptron(self, x: Tensor) -> Tensor:
        """(B, L, width) to the same."""
        active = F.relu(self.up(self.perceptron_norm(x)))  # (B, L, 4 * width)
        return x + self.down(active * active)

    def shop(self, shop: Tensor) -> tuple[Tensor, Tensor]:
        """The shop token (S, 1, width) after this block, and its key and value."""
        mixed, memory = self.attention.of_shop(self.attention_norm(shop))
        return self.perceptron(shop + mixed), memory

    def forward(self, x: Tensor, shop: Tensor, past: Tensor | None, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """(B, L, width) to the same, and keys and values of its positions (B, L, 2 * head_width).

        Seen are those of the shop, of the `past` (B, P, 2 * head_width) and of the positions themselves.
        """
        normal = self.attention_norm(x)
        memory = self.attention.memory(normal)
        before = [shop.expand(x.shape[0], -1, -1), *([] if past is None else [past.float()])]
        x = x + self.attention.mixed(normal, torch.cat((*before, memory.float()), dim=1), hidden)
        return self.perceptron(x), memory


class HazardGPT(nn.Module):
    """Tokens and a shop token to log-hazards per day of silence, for every head and bin.

    `log_hazards` (heads, BINS) is where training starts from: the hazards that all users have on average.
    """

    token_mean: Tensor
    token_scale: Tensor
    shop_mean: Tensor
    shop_scale: Tensor

    def __init__(self, scales: Scales, log_hazards: Tensor, shape: Shape = Shape()) -> None:
        super().__init__()
        self.shape = shape
        for name, mean, std in (
            ("token", scales.token_mean, scales.token_std),
            ("shop", scales.shop_mean, scales.shop_std),
        ):
            self.register_buffer(f"{name}_mean", mean)
            self.register_buffer(f"{name}_scale", torch.where(std > 0, 1.0 / std, 0.0))
        self.embed = nn.Linear(TOKEN_SIZE, shape.width)
        self.embed_shop = nn.Linear(SHOP_SIZE, 2 * shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width)
        self.hazards = nn.Linear(shape.width, len(HEADS) * BINS)
        with torch.no_grad():
            self.hazards.weight.mul_(0.1)
            self.hazards.bias.copy_(log_hazards.flatten())

    @property
    def layers(self) -> list[Block]:
        """The blocks, in order."""
        return [block for block in self.blocks if isinstance(block, Block)]

    def embedded(self, tokens: Tensor, shop: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, L, TOKEN_SIZE) and shops (S, SHOP_SIZE), S = B or 1, to (B, L, width) and (S, 1, width).

        The shop is also added to every user-day, so that amounts can be taken as relative to the shop's.
        """
        token = _within((tokens - self.token_mean) * self.token_scale)
        standardised = torch.nan_to_num((shop - self.shop_mean) * self.shop_scale)  # unknown: as the mean of all shops
        first, each = self.embed_shop(_within(standardised))[:, None].chunk(2, dim=-1)
        return self.embed(token) + each, first

    def hidden(self, tokens: Tensor, shop: Tensor) -> tuple[Tensor, Tensor]:
        """Every position's summary of the user so far (B, L, width), and memory (B, layers, L, 2 * head_width)."""
        length = tokens.shape[1]
        x, first = self.embedded(tokens, shop)
        kept = []
        for block in self.layers:
            first, of_shop = block.shop(first)
            x, memory = block(x, of_shop, None, F.pad(block.attention.future[:length, :length], (1, 0)))
            kept.append(memory)
        return self.norm(x), torch.stack(kept, dim=1)

    def at_every_day(self, tokens: Tensor, shop: Tensor) -> Tensor:
        """Log-hazards after each user-day, for training: (B, L, heads, BINS)."""
        return self.heads(self.hidden(tokens, shop)[0])

    def heads(self, hidden: Tensor) -> Tensor:
        """(…, width) to log-hazards (…, heads, BINS)."""
        return self.hazards(hidden).unflatten(-1, (len(HEADS), BINS))

    def forward(self, tokens: Tensor, lengths: Tensor, shop: Tensor) -> tuple[Tensor, Tensor]:
        """Log-hazards after the last real user-day (B, heads, BINS), and memory (B, layers, L, 2 * head_width).

        tokens (B, L, TOKEN_SIZE), lengths (B,), shop (1, SHOP_SIZE).
        """
        hidden, memory = self.hidden(tokens, shop)
        last = (lengths - 1)[:, None, None].expand(-1, 1, hidden.shape[-1])
        return self.heads(hidden.gather(1, last).squeeze(1)), memory


class Step(nn.Module):
    """The same network for one more user-day after past ones whose memory is kept."""

    def __init__(self, model: HazardGPT) -> None:
        super().__init__()
        self.model = model

    def forward(self, token: Tensor, shop: Tensor, past: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-hazards (B, heads, BINS), and the new day's memory (B, layers, 2 * head_width).

        token (B, TOKEN_SIZE), shop (1, SHOP_SIZE), past memory (B, layers, P, 2 * head_width), of which the first
        lengths (B,) days are real.
        """
        x, first = self.model.embedded(token[:, None], shop)
        padding = torch.arange(past.shape[2]) >= lengths[:, None]  # (B, P)
        hidden = F.pad(torch.where(padding, -torch.inf, 0.0), (1, 1))[:, None]  # the shop and the new day are seen
        kept = []
        for layer, block in enumerate(self.model.layers):
            first, of_shop = block.shop(first)
            x, memory = block(x, of_shop, past[:, layer], hidden)
            kept.append(memory)
        return self.model.heads(self.model.norm(x).squeeze(1)), torch.cat(kept, dim=1)


def _within(standardised: Tensor) -> Tensor:
    return standardised.clamp(-_FARTHEST_STD, _FARTHEST_STD)
