"""`text-to-speech`: a voice that says a text. Runs on models with a backend."""

from __future__ import annotations

from genpulse.core.params import TextToSpeechParams
from genpulse.core.registry import register
from genpulse.handlers.base import BaseHandler


@register("text-to-speech")
class TextToSpeech(BaseHandler):
    Params = TextToSpeechParams
    default_model = "local/hibari"
    description = "A voice that says a text."
