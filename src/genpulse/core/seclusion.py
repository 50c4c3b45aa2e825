"""Lets a suspect run alone: a shared/exclusive lock in which a waiting suspect goes before newcomers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class Seclusion:
    """Shared by code that isn't suspected, exclusive for code that is."""

    def __init__(self) -> None:
        self._sharing = 0
        self._alone = False
        self._suspects_waiting = 0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def shared(self) -> AsyncGenerator[None]:
        """Run beside others, when nobody runs or wants to run alone."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._alone and not self._suspects_waiting)
            self._sharing += 1
        try:
            yield
        finally:
            self._sharing -= 1
            await self._tell()

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[None]:
        """Run with nobody beside."""
        self._suspects_waiting += 1
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: not self._alone and not self._sharing)
                self._alone = True
        finally:
            self._suspects_waiting -= 1
            if not self._alone:
                await self._tell()
        try:
            yield
        finally:
            self._alone = False
            await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
