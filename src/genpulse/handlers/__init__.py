"""Handlers: what each task type means. Importing this package registers the built-in ones (it is their entry point)."""

from genpulse.handlers.text_to_image import TextToImage
from genpulse.handlers.text_to_speech import TextToSpeech

__all__ = ["TextToImage", "TextToSpeech"]
