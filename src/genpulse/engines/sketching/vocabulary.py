"""Which words the painter knows, and what a prompt asks for. English only; light enough to be used at accept.

`read` finds what can be drawn; `unknown` names what a prompt seems to show that has no drawing here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")

HOUR = {
    "dawn": "dawn sunrise daybreak morning",
    "day": "day daylight noon midday afternoon sunny",
    "sunset": "sunset sundown evening golden",
    "dusk": "dusk twilight gloaming",
    "night": (
        "night midnight nighttime nocturnal moonlight moonlit starlight starry stars star moon aurora galaxy "
        "constellation"
    ),
}
WEATHER = {
    "rain": "rain rainy raining drizzle shower wet monsoon",
    "snow": "snowing snowfall blizzard snowstorm snowflakes",
    "fog": "fog foggy mist misty haze hazy",
    "storm": "storm stormy thunderstorm thunder lightning tempest hurricane",
    "cloudy": "cloud cloudy clouds overcast",
    "clear": "clear cloudless",
}
SEASON = {
    "winter": "winter snow snowy snowcapped frozen ice icy frost frosty christmas arctic",
    "spring": "spring springtime",
    "autumn": "autumn autumnal fall foliage october november",
    "summer": "summer summertime",
    "blossom": "blossom blossoms cherry sakura",
}
LAND = {
    "mountains": (
        "mountain mountains peak peaks alps alpine summit range ridge ridges cliff cliffs canyon fjord fjords himalaya"
    ),
    "hills": "hill hills hillside rolling highlands countryside farmland vineyard",
    "desert": "desert dune dunes sand sahara oasis savanna savannah",
    "forest": "forest forests wood woods woodland jungle rainforest pine pines spruce fir firs taiga grove",
    "meadow": "meadow meadows field fields grassland prairie pasture garden lawn park plain plains steppe",
    "valley": "valley valleys landscape scenery nature wilderness",
    "volcano": "volcano volcanic eruption lava",
    "city": (
        "city cityscape skyline downtown metropolis skyscraper skyscrapers tower towers buildings building "
        "urban manhattan tokyo harbor harbour"
    ),
}
WATER = {
    "sea": (
        "sea ocean coast coastal beach shore seaside seascape bay waves wave surf tide island islands harbor "
        "harbour port lagoon"
    ),
    "lake": "lake lakes pond reflection reflections mirror fjord fjords water waterside",
    "river": "river rivers stream creek brook canal",
}
THING = {
    "lighthouse": "lighthouse lighthouses beacon",
    "boat": "boat boats sailboat sailboats ship ships sail sails sailing yacht yachts fishing",
    "house": (
        "house houses cottage cottages cabin cabins hut huts farm farmhouse home village town hamlet barn chalet lodge"
    ),
    "castle": "castle castles fortress palace citadel",
    "windmill": "windmill windmills mill",
    "broadleaf": "tree trees oak oaks maple birch willow orchard",
    "palm": "palm palms tropical coconut oasis",
    "cactus": "cactus cacti saguaro",
    "flowers": (
        "flower flowers wildflowers poppy poppies tulip tulips lavender sunflower sunflowers daisy daisies rose roses"
    ),
    "birds": "bird birds seagull seagulls gull gulls flock",
    "moon": "moon moonlight moonlit",
    "sun": "sun sunlight sunshine sunbeams",
    "stars": "star stars starry milky starlight galaxy constellation",
    "aurora": "aurora borealis northern",
    "rainbow": "rainbow",
    "lightning": "lightning thunderstorm",
    "calm": "calm still mirror tranquil serene peaceful reflection reflections",
}
COLOUR = {
    "red": "d0342c", "crimson": "b01e3c", "scarlet": "d8301f", "orange": "f08030", "amber": "ffb028",
    "gold": "f0b840", "golden": "f5b945", "yellow": "f4d03f", "green": "3f9a4a", "emerald": "1f9a6a",
    "teal": "1f8a8a", "turquoise": "3cc0b8", "cyan": "3fc4dc", "blue": "2f6fd0", "azure": "3f8fe8",
    "navy": "1f2f60", "indigo": "3f38a0", "purple": "7a3fb0", "violet": "8a50d0", "lavender": "a890e0",
    "magenta": "d040b0", "pink": "f08cb0", "brown": "8a5a34", "sepia": "a07848", "black": "26262c",
    "white": "f4f4f4", "grey": "8c9096", "gray": "8c9096", "silver": "b8c0c8",
}  # fmt: skip
BLOOM = {"poppy": "d8342a", "poppies": "d8342a", "tulip": "e0485c", "tulips": "e0485c", "lavender": "8a68d0",
         "sunflower": "f5b81e", "sunflowers": "f5b81e", "daisy": "f6f4ea", "daisies": "f6f4ea", "rose": "d0405c",
         "roses": "d0405c"}  # fmt: skip
STYLE = {
    "none": "photo photograph photography photorealistic photographic realistic realism",
    "oil": "oil canvas",
    "impressionist": "impressionist impressionism impressionistic monet renoir",
    "watercolour": "watercolour watercolor aquarelle gouache",
    "van-gogh": "gogh vangogh starry-night post-impressionist",
    "expressionist": "expressionist expressionism munch",
    "pastel": "pastel pastels chalk crayon",
    "ink": "ink sumi calligraphy brush-pen linocut",
    "pencil": "pencil charcoal drawing sketch graphite etching engraving",
    "woodblock": "woodblock woodcut ukiyo hokusai hiroshige japanese",
    "comic": "comic comics cartoon pop manga anime graphic",
    "cubist": "cubist cubism picasso",
    "mosaic": "mosaic tiles stained-glass stained",
    "abstract": "abstract kandinsky",
}
_HINTS = "painting painted paint art artwork illustration style poster"
_STYLE_HINT = frozenset(_HINTS.split())
_NO_CONTENT = """
a about above abstract across after again against air all along also am amid among an ancient and another any
are area around artistic as at atmosphere atmospheric away awesome background beautiful beauty before behind
below beneath best between beyond big bold bright brilliant broad brush bustling but by calm center centre
cinematic clean close closeup cold color colored colorful colors colour coloured colourful colours composition
contrast cool cosy cozy crisp dark deep delicate dense detail detailed details digital distance distant dramatic
dreamy each early edge elegant empty endless epic ethereal every fantastic fantasy far few final fine first
focus for foreground from front full gentle giant glow glowing gorgeous grand great hanging hd heavy her here
high highly his horizon hour huge hyper image in incredible inside intense intricate into is isolated it its
just large last late left lens lest light lighting lights like little lone lonely long lots lovely low lush
magic magical majestic many massive masterpiece medium middle minimal minimalist modern mood moody more most
much muted my mysterious mystical natural near nearby new next nice no not of off old on one only onto open or
our out over overlooking panorama panoramic past path peaceful perfect picture picturesque piece place pretty
professional pure quality quiet ray rays render rendering resolution rich right rough rural rustic scene scenic
serene shadow shadows sharp shine shining shore side silent silhouette simple single sky skies small smooth so
soft some spectacular stark still strong stunning style stylized sublime subtle surreal tall texture that the
their them there these they thick thin this three through time tiny to top toward towards tranquil two under up
upon vast very vibrant view vista vivid volumetric warm was way weathered where which while wide wild wind windy
with within without wonderful wooden world yet you your ultra uhd unreal trending artstation octane hdr bokeh k
mm
"""
"""Words that say how, where or how well, not what."""
_PLAIN = frozenset(_NO_CONTENT.split())
_NOT_NOUNS = re.compile(r"(ly|ing|ed|ful|ous|ive|ish|less|able|ible|esque|ened|lit)$")
_KNOWN: frozenset[str] = (
    frozenset(
        word
        for table in (HOUR, WEATHER, SEASON, LAND, WATER, THING, STYLE)
        for words in table.values()
        for word in words.split()
    )
    | COLOUR.keys()
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a prompt asks for; None or empty where it says nothing."""

    hour: str | None = None
    weather: str | None = None
    season: str | None = None
    land: frozenset[str] = frozenset()
    water: str | None = None
    things: frozenset[str] = frozenset()
    colours: tuple[str, ...] = ()
    blooms: tuple[str, ...] = ()
    style: str | None = None


def read(prompt: str) -> Wish:
    """What the prompt asks for."""
    words = _words(prompt)
    found = frozenset(words)
    fair = "blue" in found and not found.isdisjoint({"sky", "skies"})
    return Wish(
        hour=_first(HOUR, words) or ("day" if fair else None),
        weather=_first(WEATHER, words),
        season=_first(SEASON, words),
        land=_all(LAND, found),
        water=_first(WATER, words),
        things=_all(THING, found),
        colours=tuple(dict.fromkeys(COLOUR[w] for w in words if w in COLOUR and not (fair and w == "blue")))[:4],
        blooms=tuple(dict.fromkeys(BLOOM[word] for word in words if word in BLOOM))[:3],
        style=_first(STYLE, words) or ("oil" if found & _STYLE_HINT else None),
    )


def unknown(prompt: str, limit: int = 5) -> list[str]:
    """Content words that nothing here draws, in their order, each a plain lower-case word of at most 24 letters."""
    seen = dict.fromkeys(
        word
        for word in _words(prompt)
        if word.isascii() and 2 < len(word) <= 24 and not _familiar(word) and not _NOT_NOUNS.search(word)
    )
    return list(seen)[:limit]


def foreign(prompt: str) -> bool:
    """Has it letters, but no word in English letters?"""
    words = _words(prompt)
    return bool(words) and not any(word.isascii() for word in words)


def _words(prompt: str) -> list[str]:
    return [match.group().lower().removesuffix("'s") for match in _WORD.finditer(prompt)]


def _familiar(word: str) -> bool:
    return any(form in _KNOWN or form in _PLAIN or form in _STYLE_HINT for form in _forms(word))


def _forms(word: str) -> tuple[str, ...]:
    """The word, and what it may be the plural of."""
    return (word, word.removesuffix("s"), word.removesuffix("es"), word.removesuffix("y"))


def _first(table: dict[str, str], words: list[str]) -> str | None:
    """The entry that the earliest word belongs to."""
    by_word = {word: name for name, entry in reversed(table.items()) for word in entry.split()}
    return next((by_word[word] for word in words if word in by_word), None)


def _all(table: dict[str, str], words: frozenset[str]) -> frozenset[str]:
    return frozenset(name for name, entry in table.items() if not words.isdisjoint(entry.split()))
