"""3x3 convolution on a CPU with a quarter of the multiplications.

Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray 2016, section 4): a tile of 6x6
inputs is transformed, multiplied channel by channel with the transformed filter at each
of its 36 positions, and transformed back to 4x4 outputs. The transforms are matrix
products too, so the whole runs at the speed of the matrix library.

Shapes: N images, C input and K output channels, (H, W) the feature map, (Y, X) tiles in
a map, R rows of tiles in a strip, strips in bands.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Interpolation at 0, 1, -1, 2, -2 and infinity.
INPUT = torch.tensor(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=torch.float64,
)
FILTER = torch.tensor(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    dtype=torch.float64,
)
OUTPUT = torch.tensor(
    [
        [1, 1, 1, 1, 1, 0],
        [0, 1, -1, 2, -2, 0],
        [0, 1, 1, 4, 4, 0],
        [0, 1, -1, 8, -8, 1],
    ],
    dtype=torch.float64,
)
# Both axes at once: a tile is a vector of 36.
INPUT_2D = torch.kron(INPUT, INPUT).float()
OUTPUT_2D = torch.kron(OUTPUT, OUTPUT).float()

# Numbers of a transformed strip of tiles: transforms stay in a core's cache.
STRIP = 300_000
# Numbers of a band of strips that are multiplied together: all filters are read for
# each, so few bands, even where other programs take their share of the cache.
BAND = 5_000_000
# With fewer channels the transforms cost more than the multiplications they spare.
FEWEST_CHANNELS = 128


class WinogradConv2d(nn.Conv2d):
    """A 3x3 convolution, stride 1, padding 1, that takes the short way where it may.

    On float32 features on a CPU with gradients off it is Winograd's, equal to the plain
    convolution to about 3e-5 of the outputs' spread; everywhere else the plain one.
    Made by :meth:`of` from a layer whose weights no longer change.
    """

    transformed: Tensor

    @classmethod
    def fits(cls, layer: nn.Module) -> bool:
        """Whether a layer is such a convolution, of enough channels to gain."""
        return (
            type(layer) is nn.Conv2d
            and layer.kernel_size == (3, 3)
            and layer.stride == layer.padding == layer.dilation == (1, 1)
            and layer.groups == 1
            and layer.padding_mode == 'zeros'
            and min(layer.in_channels, layer.out_channels) >= FEWEST_CHANNELS
            and layer.weight.dtype == torch.float32
        )

    @classmethod
    def of(cls, layer: nn.Conv2d) -> WinogradConv2d:
        """Return the same convolution; weights are shared, not copied."""
        own = cls(layer.in_channels, layer.out_channels, 3, padding=1, device='meta')
        own.weight, own.bias = layer.weight, layer.bias
        own.register_buffer('transformed', transform_filter(layer.weight), False)
        return own.train(layer.training)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, C, H, W) to (N, K, H, W)."""
        short = (
            x.device.type == 'cpu'
            and x.dtype == torch.float32
            and not torch.is_grad_enabled()
            and not torch.is_autocast_enabled('cpu')
        )
        if not short:
            return super().forward(x)
        return winograd_conv(x, self.transformed, self.bias)


def transform_filter(weight: Tensor) -> Tensor:
    """Transform filters (K, C, 3, 3) to (36, C, K), in float64 on the way."""
    full = weight.detach().double()
    transform = FILTER.to(weight.device)
    both = torch.einsum('ia,kcab,jb->ijck', transform, full, transform)
    return both.flatten(0, 1).to(weight.dtype).contiguous()


def winograd_conv(x: Tensor, transformed: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve with transformed filters, padding 1.

    Args:
        x (Tensor): Features, float32, shape (N, C, H, W).
        transformed (Tensor): Filters of :func:`transform_filter`, (36, C, K).
        bias (Tensor | None): Shape (K,).

    Returns:
        Tensor: float32, shape (N, K, H, W), channels last in memory.
    """
    images, channels, height, width = x.shape
    wide = transformed.shape[2]
    down, across = -(-height // 4), -(-width // 4)  # tiles: Y, X
    row = 36 * images * across * max(channels, wide)  # numbers of a row of tiles
    rows = min(max(STRIP // row, 1), down)
    strips = min(max(BAND // (row * rows), 1), -(-down // rows))

    result = x.new_empty(images, 4 * down, 4 * across, wide)
    # (4, 4, N, Y, X, K): the place of each output within its tile first.
    tiled = result.view(images, down, 4, across, 4, wide).permute(2, 4, 0, 1, 3, 5)
    tiles = images * rows * across
    inputs = x.new_empty(36, strips * tiles, channels)
    products = x.new_empty(36, strips * tiles, wide)
    source = x.permute(0, 2, 3, 1)
    strip = x.new_zeros(images, 4 * rows + 2, 4 * across + 2, channels)
    windows = _windows(strip, rows, across)  # (6, 6, N, R, X, C)
    # Written again and again, so that they stay in the cache.
    gathered = x.new_empty(windows.shape)
    outputs = x.new_empty(4, 4, images, rows, across, wide)
    for top in range(0, down, strips * rows):
        firsts = range(top, min(top + strips * rows, down), rows)
        filled = len(firsts) * tiles
        for first, part in zip(firsts, inputs.split(tiles, 1), strict=False):
            _fill_strip(strip, source, 4 * first - 1)
            gathered.copy_(windows)
            torch.mm(INPUT_2D, gathered.view(36, -1), out=_flat(part))
        torch.bmm(inputs[:, :filled], transformed, out=products[:, :filled])
        for first, part in zip(firsts, products.split(tiles, 1), strict=False):
            torch.mm(OUTPUT_2D, _flat(part), out=outputs.view(16, -1))
            place = tiled[:, :, :, first : first + rows]
            found = outputs[:, :, :, : place.shape[3]]
            if bias is None:
                place.copy_(found)
            else:
                torch.add(found, bias, out=place)
    return result[:, :height, :width].permute(0, 3, 1, 2)


def _flat(part: Tensor) -> Tensor:
    """View tiles of a band, (36, T, C), as (36, T * C), in place."""
    return part.as_strided((36, part[0].numel()), (part.stride(0), 1))


def _windows(strip: Tensor, rows: int, across: int) -> Tensor:
    """View a strip as its overlapping 6x6 tiles: (6, 6, N, R, X, C)."""
    image, line, pixel, channel = strip.stride()
    return strip.as_strided(
        (6, 6, len(strip), rows, across, strip.shape[3]),
        (line, pixel, image, 4 * line, 4 * pixel, channel),
    )


def _fill_strip(strip: Tensor, source: Tensor, first: int) -> None:
    """Copy lines from ``first`` on into a strip, zeros where the map has none."""
    height, width = source.shape[1:3]
    start, stop = max(first, 0), min(first + strip.shape[1], height)
    strip[:, : start - first].zero_()
    strip[:, start - first : stop - first, 1 : width + 1] = source[:, start:stop]
    strip[:, stop - first :].zero_()
