"""What a composed scene is: places and numbers, ready to be painted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from genpulse.engines.sketching.land import Cover, Terrain
from genpulse.engines.sketching.light import Light
from genpulse.engines.sketching.noise import Rng
from genpulse.engines.sketching.sky import Heaven
from genpulse.engines.sketching.view import Camera
from genpulse.engines.sketching.water import Water


class Chance:
    """Independent random numbers by name: what one part draws never shifts what another draws."""

    def __init__(self, prompt: str, seed: int) -> None:
        self._root = hashlib.sha256(f"{seed}\n{prompt}".encode()).digest()

    def of(self, name: str) -> Rng:
        digest = hashlib.sha256(self._root + name.encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:16], "big"))


@dataclass(frozen=True, slots=True)
class Grove:
    """Many plants of one kind."""

    kind: str
    count: int
    near: float
    far: float
    height: float
    clear: float = 0.0
    """Half-width of the middle that stays open, as a share of the picture."""
    spread: float = 1.25
    """How far to the sides, as a share of the picture's half-width."""
    clumping: float = 0.5


@dataclass(frozen=True, slots=True)
class Standing:
    """One thing at a place in the picture: `column` is a share of the width."""

    kind: str
    column: float
    z: float
    size: float = 1.0
    afloat: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """All that the painter needs."""

    camera: Camera
    light: Light
    heaven: Heaven
    terrain: Terrain
    cover: Cover
    water: Water | None
    weather: str
    season: str
    groves: tuple[Grove, ...] = ()
    standing: tuple[Standing, ...] = ()
    city: bool = False
    birds: bool = False
    blooms: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    sun_side: float = 1.0
