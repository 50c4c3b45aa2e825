"""Which text the English voice can speak. What it would leave out silently is refused, so that nobody is misled.

Facts about hibari-tts 0.2.1, found by comparing its phonemes with and without each character: it drops other
scripts, emoji and most symbols without a word, and accented letters outside Latin-1 (it reads them as nothing).
"""

from __future__ import annotations

import re
import unicodedata

_SPOKEN_SYMBOLS = frozenset("$%&+=<>@^~#¢£¥§©°±²³¶¹¼½¾×÷€№")
_SILENT_SYMBOLS = frozenset("|`´¨¦™®")
"""Marks that carry no words of their own."""
_LETTERS = {"ß": "ss", "Æ": "AE", "Œ": "OE", "œ": "oe", "Ø": "O", "Ł": "L", "ł": "l", "Đ": "D", "đ": "d", "Ð": "D",
            "Þ": "Th", "þ": "th", "ð": "th", "ı": "i"}  # fmt: skip
_MARKS = {"−": "-", "⁄": "/", "‚": "'", "′": "'", "″": '"'}
_KEPT = frozenset("àáâãäåæçèéêëìíîïñòóôõöøùúûüýÿ")
_AMOUNT = re.compile(r"(?<![\w.,])(\d[\d.,]*\d|\d)\s?([€£¥])")  # “5 €” loses its currency, “€5” doesn't
_EAST_ASIAN = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "FULLWIDTH", "IDEOGRAPHIC")


def unspeakable(text: str) -> str | None:
    """What is wrong with a text as a sentence without the text itself, or None when all of it can be spoken."""
    kinds = sorted({kind for character in unicodedata.normalize("NFC", text) if (kind := _foreign(character))})
    if kinds:
        return f"the English voice can't speak {', '.join(kinds[:3])}"
    if not any(c.isalnum() or c in _SPOKEN_SYMBOLS for c in text):
        return "there is nothing to speak: no letters and no digits"
    return None


def readable(text: str) -> str:
    """The same text, written so that the voice leaves nothing out."""
    text = "".join(_simple(c) for c in unicodedata.normalize("NFC", text))
    return _AMOUNT.sub(r"\2\1", text)


def _foreign(character: str) -> str | None:
    """The kind of characters that it belongs to if it can't be spoken."""
    category = unicodedata.category(character)
    if character.isascii() or character in _SPOKEN_SYMBOLS | _SILENT_SYMBOLS | _MARKS.keys():
        return None
    if category[0] == "L":
        return None if _base(character) else _script(character)
    if category[0] in "PZ" or category in {"Cc", "Cf", "Mn"}:  # Mn: the selectors that emoji drag along
        return None if not _script(character).startswith("Chinese") else _script(character)
    if category[0] == "N":
        return "digits of other scripts"
    return "emoji or symbols"


def _script(character: str) -> str:
    name = unicodedata.name(character, "UNNAMED")
    if name.startswith(_EAST_ASIAN):
        return "Chinese, Japanese or Korean characters"
    word = name.split(" ", 1)[0].split("-", 1)[0]
    return f"{word.title()} letters" if word not in {"LATIN", "UNNAMED", "MATHEMATICAL"} else "letters like these"


def _base(character: str) -> str:
    """The letters a to z that a Latin letter stands for; empty when there are none."""
    if character in _LETTERS or character in _KEPT:
        return character
    plain = unicodedata.normalize("NFKD", character)
    letters = "".join(c for c in plain if c.isascii() and c.isalpha())
    is_latin = unicodedata.name(character, "").startswith("LATIN")
    return letters if is_latin and letters else ""


def _simple(character: str) -> str:
    if character.isascii() or character in _KEPT:
        return character
    if character in _LETTERS or character in _MARKS:
        return _LETTERS.get(character) or _MARKS[character]
    return (_base(character) if character.isalpha() else "") or character
