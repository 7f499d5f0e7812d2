"""The table of CoIN-mini's tasks: names, where CoIN keeps their files, and which function draws a sample."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from coin_lightning.benchmarks.drawing import Materials
from coin_lightning.benchmarks.layout import ImageItems
from coin_lightning.benchmarks.mini_captions import captions
from coin_lightning.benchmarks.mini_gqa import gqa
from coin_lightning.benchmarks.mini_grounding import grounding
from coin_lightning.benchmarks.mini_imagenet import imagenet
from coin_lightning.benchmarks.mini_ocrvqa import ocrvqa
from coin_lightning.benchmarks.mini_scienceqa import scienceqa
from coin_lightning.benchmarks.mini_textvqa import textvqa
from coin_lightning.benchmarks.mini_vizwiz import vizwiz
from coin_lightning.benchmarks.mini_vqav2 import vqav2

Draw = Callable[[Random, Materials, str, int], ImageItems]


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        key: the project's name; folder: CoIN's name; evaluation: name of its evaluation file, ``test`` or ``val``.
        images: image path under the image root, with ``{split}`` (``train`` or the evaluation name) and ``{id}``.
        draw: a pure function of (generator, materials, split, image index).
        whole_number_ids: question ids are numbers, as in the original, instead of strings.
        share: of training samples, beside the largest task. CoIN's differ in size, too, though not in this order: here
            what is hard for a small model is large.
    """

    key: str
    folder: str
    evaluation: str
    images: str
    draw: Draw
    whole_number_ids: bool = False
    share: float = 0.5

    def image_path(self, split: str, number: int) -> str:
        """The path of an image, relative to the image root, with a leading ``./``."""
        where = "train" if split == "train" else self.evaluation
        return "./" + self.images.format(split=where, id=number)


_COCO = "COCO2014/{split}2014/COCO_{split}2014_000002{id:06d}.jpg"
_IMAGENET = "ImageNet_withlabel/{split}/ILSVRC2012_{split}_{id:08d}.JPEG"
# RefCOCO's images, of every split, come from COCO's training folder.
_REFCOCO = "COCO2014/train2014/COCO_train2014_000001{id:06d}.jpg"
TASKS: tuple[Task, ...] = (
    Task("scienceqa", "ScienceQA", "test", "ScienceQA/images/{split}/{id}/image.jpg", scienceqa, share=1.0),
    Task("textvqa", "TextVQA", "val", "TextVQA/train_images/{id:016x}.jpg", textvqa, whole_number_ids=True),
    Task("imagenet", "ImageNet", "test", _IMAGENET, imagenet, share=0.25),
    Task("gqa", "GQA", "test", "GQA/images/{id}.jpg", gqa),
    Task("vizwiz", "VizWiz", "val", "VizWiz/{split}/VizWiz_{split}_{id:08d}.jpg", vizwiz),
    Task("grounding", "Grounding", "test", _REFCOCO, grounding),
    Task("vqav2", "VQAv2", "val", _COCO, vqav2, whole_number_ids=True),
    Task("ocrvqa", "OCRVQA", "test", "OCR-VQA/images/{id}.jpg", ocrvqa),
)
CAPTIONS = Task("caption", "Caption", "test", "Caption/{split}/{id}.jpg", captions)
