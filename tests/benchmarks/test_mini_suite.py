from coin_lightning.benchmarks.mini_suite import CAPTIONS, TASKS


def test_image_paths_look_like_the_originals():
    paths = {task.key: (task.image_path("train", 100_007), task.image_path("test", 500_007)) for task in TASKS}
    assert paths["vqav2"] == (
        "./COCO2014/train2014/COCO_train2014_000002100007.jpg",
        "./COCO2014/val2014/COCO_val2014_000002500007.jpg",
    )
    assert paths["grounding"][1] == "./COCO2014/train2014/COCO_train2014_000001500007.jpg"
    assert paths["scienceqa"][0] == "./ScienceQA/images/train/100007/image.jpg"
    assert paths["textvqa"][0] == "./TextVQA/train_images/00000000000186a7.jpg"
    assert CAPTIONS.image_path("train", 3) == "./Caption/train/3.jpg"
    everything = [path for pair in paths.values() for path in pair]
    assert len(set(everything)) == len(everything)
