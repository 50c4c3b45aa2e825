"""The names of the styles. Their own module, since the params are checked without numpy."""

from __future__ import annotations

from typing import Literal, get_args

StyleName = Literal[
    "auto", "none", "painted", "oil", "impressionist", "watercolour", "van-gogh", "expressionist", "pastel", "ink",
    "pencil", "woodblock", "comic", "cubist", "mosaic", "abstract",
]  # fmt: skip

NAMES: tuple[str, ...] = get_args(StyleName)
