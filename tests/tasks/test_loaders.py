from coin_lightning.tasks.loaders import Batches, Rows, TrainLoader


def test_rows_are_taken_when_their_batch_is_asked_for():
    asked = []

    class Watched(list):
        def __getitem__(self, index):
            asked.append(index)
            return super().__getitem__(index)

    batches = Batches(Watched("abcde"), [[3, 1], [0]], lambda rows: {"rows": "".join(rows)})
    assert len(batches) == 2
    assert asked == []
    assert batches[0] == {"rows": "db"}
    assert asked == [3, 1]


def test_rows_are_a_data_set_and_the_loader_has_no_state():
    rows = Rows(["a", "b"])
    assert (len(rows), rows[1]) == (2, "b")
    loader = TrainLoader(rows, batch_size=2)
    assert loader.state_dict() == {}
    loader.load_state_dict({})
    assert list(loader) == [["a", "b"]]
