"""The counterpart of OCR-VQA: covers of imagined "books of the film" with real titles, directors, years, genres."""

import re
import sqlite3
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from PIL import Image, ImageDraw

from coin_lightning.benchmarks.drawing import RGB, Materials, disc, fitting_font, paste, readable_on, text_in_box
from coin_lightning.benchmarks.layout import ImageItems, Item, short
from coin_lightning.benchmarks.vocabulary import with_article

COVERS = ((160, 224), (152, 224), (170, 224))


@dataclass(frozen=True)
class Look:
    """How covers of a genre tend to look: background colours, motifs (OpenMoji), typeface."""

    colours: tuple[RGB, ...]
    motifs: str
    face: str


LOOKS: dict[str, Look] = {
    "Drama": Look(((92, 84, 110), (120, 110, 100), (70, 90, 104)), "🎭🍂🪟", "DejaVuSerif"),
    "Comedy": Look(((250, 214, 60), (255, 190, 70), (250, 228, 120)), "😂🤡🤪", "DejaVuSans-Bold"),
    "Romance": Look(((244, 180, 196), (236, 150, 176), (250, 210, 216)), "❤🌹💌", "DejaVuSerif-Bold"),
    "Documentary": Look(((224, 226, 222), (200, 210, 206), (238, 236, 228)), "🌍📷🔬", "DejaVuSans"),
    "Horror": Look(((20, 14, 18), (44, 8, 12), (24, 24, 34)), "💀👻🦇", "DejaVuSerif-Bold"),
    "Thriller": Look(((30, 40, 60), (40, 48, 52), (22, 34, 48)), "🔪🔎👁", "DejaVuSans-Bold"),
    "Sci-Fi": Look(((24, 20, 80), (40, 26, 110), (12, 40, 96)), "🚀🤖👽", "DejaVuSansMono-Bold"),
    "Biography": Look(((206, 188, 160), (222, 206, 180), (190, 170, 140)), "👤🖊📜", "DejaVuSerif"),
    "Musical": Look(((170, 60, 170), (130, 40, 150), (200, 80, 160)), "🎵🎤🎷", "DejaVuSans-Bold"),
    "War": Look(((92, 98, 60), (74, 82, 54), (110, 104, 70)), "🪖⚔🎖", "DejaVuSansMono-Bold"),
    "Animation": Look(((90, 200, 230), (120, 214, 150), (130, 190, 250)), "🐭🎨🧚", "DejaVuSans-Bold"),
    "Western": Look(((206, 130, 60), (186, 110, 50), (224, 156, 84)), "🌵🐴🤠", "DejaVuSerif-Bold"),
}
GENRES: tuple[str, ...] = tuple(LOOKS)
_CRUDE = re.compile(
    r"sex|porn|erot|nymph|naked|nude|lust|slut|whore|bitch|ass\b|fuck|rape|kinky|virgin|nazi|hitler|damn", re.I
)


@dataclass(frozen=True)
class Film:
    """A film as the covers use it; ``genres`` are all of its genres, ``genre`` the main one."""

    title: str
    director: str
    year: int
    genres: tuple[str, ...]

    @property
    def genre(self) -> str:
        return self.genres[0]


@cache
def films(database: Path) -> dict[str, tuple[Film, ...]]:
    """Films with a short plain title that occurs once and one director, by main genre, in order of their number."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        rows = connection.execute("SELECT Title, Director, Year, Genre, Rating FROM omdb ORDER BY ID").fetchall()
    connection.close()
    titles = [row[0] for row in rows]
    seen: dict[str, int] = {}
    for title in titles:
        seen[title] = seen.get(title, 0) + 1
    found: dict[str, list[Film]] = {genre: [] for genre in GENRES}
    for title, director, year, genre, rating in rows:
        genres = tuple((genre or "").split(", "))
        if (
            genres[0] in found
            and seen[title] == 1
            and year
            and rating not in ("NC-17", "X")
            and _plain(title, director)
        ):
            found[genres[0]].append(Film(title, director, int(year), genres))
    return {genre: tuple(listed) for genre, listed in found.items()}


def _plain(title: str, director: str | None) -> bool:
    if not director or "," in director or not (director + title).isascii() or _CRUDE.search(title):
        return False
    return 3 <= len(title) <= 24 and 5 <= len(director) <= 20


def film_of(materials: Materials, split: str, index: int) -> Film:
    """Genres take turns; of each genre a fifth of the films each is the test's and stage 1's, a tenth validation's."""
    listed = films(materials.films_database)[GENRES[index % len(GENRES)]]
    turns = {"test": (0, 5), "caption": (1, 6), "validation": (9,)}.get(split, (2, 3, 4, 7, 8))
    mine = tuple(film for place, film in enumerate(listed) if place % 10 in turns)
    # A stride coprime with the length visits all before any comes again.
    return mine[(index // len(GENRES)) * 7 % len(mine) if len(mine) % 7 else index // len(GENRES) % len(mine)]


def ocrvqa(rng: Random, materials: Materials, split: str, index: int) -> ImageItems:
    """A cover and three or four questions: kind or genre, yes/no, and author, title or year."""
    film = film_of(materials, split, index)
    items = [_related(rng, film), _genre(rng, film), _detail(rng, film)]
    if rng.random() < 0.4:
        items.append(_related(rng, film))
    unique = {item.text: item for item in items}
    return ImageItems(cover(rng, materials, film), list(unique.values()))


def _genre(rng: Random, film: Film) -> Item:
    return Item(short(rng.choice(("What type of book is this?", "What is the genre of this book?"))), film.genre)


def _related(rng: Random, film: Film) -> Item:
    true = rng.random() < 0.5
    others = [genre for genre in GENRES if genre not in film.genres]
    asked = film.genre if true else rng.choice(others)
    question = rng.choice((f"Is this book related to {asked}?", f"Is this {with_article(asked)} book?"))
    return Item(short(question), "Yes" if true else "No")


def _detail(rng: Random, film: Film) -> Item:
    kind = rng.randint(0, 2)
    if kind == 0:
        return Item(short(rng.choice(("Who is the author of this book?", "Who wrote this book?"))), film.director)
    if kind == 1:
        return Item(
            short(rng.choice(("What is the title of this book?", "What is the name of this book?"))), film.title
        )
    return Item(short("What is the year printed on this cover?"), str(film.year))


def cover(rng: Random, materials: Materials, film: Film) -> Image.Image:
    """A drawn cover: colour, motif and typeface follow the genre most of the time, never always."""
    look = LOOKS[film.genre]
    size = rng.choice(COVERS)
    stray = LOOKS[rng.choice(GENRES)]
    fill = rng.choice(look.colours if rng.random() < 0.85 else stray.colours)
    motif = rng.choice(look.motifs if rng.random() < 0.85 else stray.motifs)
    image = Image.new("RGB", size, fill)
    _motif(rng, materials, image, motif)
    ink = readable_on(fill)
    title_top = rng.choice((12, 14, 18))
    lines = _lines(film.title)
    points = min(int(fitting_font(look.face, line, size[0] - 20, 26, 30).size) for line in lines)
    for row, line in enumerate(lines):
        box = (10, title_top + 30 * row, size[0] - 10, title_top + 30 * row + 26)
        text_in_box(image, line, box, look.face, ink, largest=points)
    text_in_box(image, film.director, (12, 178, size[0] - 12, 196), "DejaVuSans", ink, largest=18)
    text_in_box(image, str(film.year), (12, 200, size[0] - 12, 216), "DejaVuSans", ink, largest=16)
    return image


def _motif(rng: Random, materials: Materials, image: Image.Image, motif: str) -> None:
    draw = ImageDraw.Draw(image)
    fill = readable_on(image.getpixel((0, 0)))  # type: ignore[arg-type]  # an RGB image gives three numbers
    style = rng.choice(("frame", "bars", "plain"))
    if style == "frame":
        draw.rectangle((4, 4, image.width - 5, image.height - 5), outline=fill, width=2)
    elif style == "bars":
        draw.rectangle((0, 170, image.width, 173), fill=fill)
    glyph = materials.glyph(motif, rng.randint(62, 76))
    left, middle = (image.width - glyph.width) // 2, 126
    # The drawings have black outlines: a pale disc keeps them visible on dark covers.
    disc(image, (image.width // 2, middle), max(glyph.size) // 2 + 6, (232, 228, 220))
    paste(image, glyph, left, middle - glyph.height // 2)


def _lines(title: str) -> list[str]:
    """The title in at most two lines of similar length."""
    words = title.split()
    if len(title) <= 11 or len(words) == 1:
        return [title]
    cuts = [(" ".join(words[:i]), " ".join(words[i:])) for i in range(1, len(words))]
    return list(min(cuts, key=lambda pair: max(map(len, pair))))
