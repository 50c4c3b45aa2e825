"""`text-to-image`: a picture of what a prompt says. Runs on models with a backend."""

from __future__ import annotations

from genpulse.core.params import TextToImageParams
from genpulse.core.registry import register
from genpulse.handlers.base import BaseHandler


@register("text-to-image")
class TextToImage(BaseHandler):
    Params = TextToImageParams
    default_model = "local/sketch"
    description = "A picture of what a prompt says."
