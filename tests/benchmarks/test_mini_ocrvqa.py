from itertools import combinations
from random import Random

import pytest

from coin_lightning.benchmarks.mini_ocrvqa import GENRES, Film, _lines, cover, film_of, films, ocrvqa

SPLITS = ("train", "test", "validation", "caption")
pytestmark = pytest.mark.assets


def test_titles_break_into_even_lines():
    assert _lines("Wanted") == ["Wanted"]
    assert _lines("The Purple Rose of Cairo") == ["The Purple", "Rose of Cairo"]


def test_films_are_unique_and_never_in_two_splits(materials):
    for genre, listed in films(materials.films_database).items():
        assert genre in GENRES
        assert len({film.title for film in listed}) == len(listed) > 100
    splits = {split: {film_of(materials, split, i).title for i in range(600)} for split in SPLITS}
    assert not any(splits[a] & splits[b] for a, b in combinations(SPLITS, 2))
    assert len(splits["train"]) == 600


def test_answers_are_the_films(materials):
    for index in range(36):
        film = film_of(materials, "test", index)
        assert film.genre == GENRES[index % 12]
        for item in ocrvqa(Random(index), materials, "test", index).items:
            question = item.text.split("\n")[0]
            if item.answer in ("Yes", "No"):
                asked = [genre for genre in GENRES if genre in question]
                assert len(asked) == 1
                assert (asked[0] in film.genres) == (item.answer == "Yes")
            elif "author" in question or "wrote" in question:
                assert item.answer == film.director
            elif "title" in question or "name" in question:
                assert item.answer == film.title
            elif "year" in question:
                assert item.answer == str(film.year)
            else:
                assert item.answer == film.genre


def test_covers_show_their_genre_most_of_the_time_by_colour(materials):
    def mean(genre: str) -> float:
        film = Film("A Title", "An Author", 1999, (genre,))
        images = [cover(Random(i), materials, film).getpixel((2, 2)) for i in range(20)]
        return sum(sum(pixel) / 3 for pixel in images) / 20

    assert mean("Horror") < 80 < 160 < mean("Comedy")
