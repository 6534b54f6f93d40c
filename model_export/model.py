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
    body: Literal["transformer", "gru"] = "transformer"


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
    """Causal multi-query self-attention; the shop's key and value go before all others."""

    future: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.head_width = shape.heads, shape.head_width
        self.queries = nn.Linear(shape.width, shape.heads * shape.head_width)
        self.key_value = nn.Linear(shape.width, 2 * shape.head_width)
        self.output = nn.Linear(shape.heads * shape.head_width, shape.width)
        future = torch.full((MAX_DAYS, MAX_DAYS), -torch.inf).triu(1)
        self.register_buffer("future", future, persistent=False)

    def of_shop(self, shop: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the shop token (S, 1, width) makes of itself, its key and its value (S, 1, head_width)."""
        key, value = self.key_value(shop).chunk(2, dim=-1)
        return self.output(value.repeat(1, 1, self.heads)), key, value

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Of user-days (B, L, width): (B, L, head_width) each."""
        key, value = self.key_value(x).chunk(2, dim=-1)
        return key, value

    def mixed(self, x: Tensor, keys: Tensor, values: Tensor, hidden: Tensor) -> Tensor:
        """Queries of (B, L, width) over keys and values (B, K, head_width); `hidden` (…, L, K) is -inf where unseen."""
        batch, length, _ = x.shape
        queries = self.queries(x).view(batch, length, self.heads, self.head_width).transpose(1, 2)
        queries = queries.reshape(batch, self.heads * length, self.head_width)  # all heads ask the same keys
        scores = (queries @ keys.transpose(-2, -1)) * self.head_width**-0.5
        scores = scores.view(batch, self.heads, length, -1) + hidden  # (B, heads, L, K)
        weights = torch.softmax(scores, dim=-1).view(batch, self.heads * length, -1)
        mixed = (weights @ values).view(batch, self.heads, length, self.head_width)
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

    def shop(self, shop: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The shop token (S, 1, width) after this block, and its key and value."""
        mixed, key, value = self.attention.of_shop(self.attention_norm(shop))
        return self.perceptron(shop + mixed), key, value

    def forward(self, x: Tensor, shop_key: Tensor, shop_value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, L, width) to the same, with the keys and values (B, L, head_width) of its positions."""
        batch, length, _ = x.shape
        normal = self.attention_norm(x)
        keys, values = self.attention.keys_values(normal)
        all_keys = torch.cat((shop_key.expand(batch, -1, -1), keys), dim=1)
        all_values = torch.cat((shop_value.expand(batch, -1, -1), values), dim=1)
        hidden = F.pad(self.attention.future[:length, :length], (1, 0))
        x = x + self.attention.mixed(normal, all_keys, all_values, hidden)
        return self.perceptron(x), keys, values

    def step(
        self, x: Tensor, shop: tuple[Tensor, Tensor], past: tuple[Tensor, Tensor], hidden: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One new position (B, 1, width) after past ones (B, P, head_width), of which `hidden` (B, 1, 1, P + 2) hides
        the padding."""
        batch = x.shape[0]
        normal = self.attention_norm(x)
        key, value = self.attention.keys_values(normal)
        keys = torch.cat((shop[0].expand(batch, -1, -1), past[0], key), dim=1)
        values = torch.cat((shop[1].expand(batch, -1, -1), past[1], value), dim=1)
        x = x + self.attention.mixed(normal, keys, values, hidden)
        return self.perceptron(x), key, value


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

    def hidden(self, tokens: Tensor, shop: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Every position's summary of the user so far (B, L, width), and all keys and values (layers, B, L, head)."""
        x, first = self.embedded(tokens, shop)
        keys, values = [], []
        for block in self.layers:
            first, shop_key, shop_value = block.shop(first)
            x, key, value = block(x, shop_key, shop_value)
            keys.append(key)
            values.append(value)
        return self.norm(x), torch.stack(keys), torch.stack(values)

    def at_every_day(self, tokens: Tensor, shop: Tensor) -> Tensor:
        """Log-hazards after each user-day, for training: (B, L, heads, BINS)."""
        return self.heads(self.hidden(tokens, shop)[0])

    def heads(self, hidden: Tensor) -> Tensor:
        """(…, width) to log-hazards (…, heads, BINS)."""
        return self.hazards(hidden).unflatten(-1, (len(HEADS), BINS))

    def forward(self, tokens: Tensor, lengths: Tensor, shop: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-hazards after the last real user-day (B, heads, BINS), and keys and values (layers, B, L, head_width).

        tokens (B, L, TOKEN_SIZE), lengths (B,), shop (1, SHOP_SIZE).
        """
        hidden, keys, values = self.hidden(tokens, shop)
        last = (lengths - 1)[:, None, None].expand(-1, 1, hidden.shape[-1])
        return self.heads(hidden.gather(1, last).squeeze(1)), keys, values


class Step(nn.Module):
    """The same network for one more user-day after past ones whose keys and values are kept."""

    def __init__(self, model: HazardGPT) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, token: Tensor, shop: Tensor, keys: Tensor, values: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Log-hazards (B, heads, BINS), and the new day's keys and values (layers, B, head_width).

        token (B, TOKEN_SIZE), shop (1, SHOP_SIZE), past keys and values (layers, B, P, head_width), of which the
        first lengths (B,) are real.
        """
        x, first = self.model.embedded(token[:, None], shop)
        hidden = self._hidden(keys, lengths)
        new_keys, new_values = [], []
        for layer, block in enumerate(self.model.layers):
            first, shop_key, shop_value = block.shop(first)
            x, key, value = block.step(x, (shop_key, shop_value), (keys[layer], values[layer]), hidden)
            new_keys.append(key.squeeze(1))
            new_values.append(value.squeeze(1))
        log_hazards = self.model.heads(self.model.norm(x).squeeze(1))
        return log_hazards, torch.stack(new_keys), torch.stack(new_values)

    @staticmethod
    def _hidden(keys: Tensor, lengths: Tensor) -> Tensor:
        padding = torch.arange(keys.shape[2]) >= lengths[:, None]  # (B, P)
        hidden = torch.where(padding, -torch.inf, 0.0)
        return F.pad(hidden, (1, 1))[:, None, None]  # the shop before, the new day after: both seen


def _within(standardised: Tensor) -> Tensor:
    return standardised.clamp(-_FARTHEST_STD, _FARTHEST_STD)
