"""The probes behind the choice of the vision tower, against slow direct versions."""

import importlib.util
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "experiments" / "tower_choice"


@pytest.fixture(scope="module")
def probes():
    """Under a name of its own: the tests have a module `probes`, too, which configs of runs name."""
    spec = importlib.util.spec_from_file_location("tower_probes", FOLDER / "probes.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def draw():
    generator = torch.Generator().manual_seed(3)
    return lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_iou_of_hand_worked_boxes(probes):
    first = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 4.0, 2.0], [1.0, 1.0, 1.0, 1.0]])
    second = torch.tensor([[1.0, 1.0, 3.0, 3.0], [2.0, 0.0, 3.0, 1.0], [1.0, 0.0, 2.0, 2.0], [1.0, 1.0, 1.0, 1.0]])
    assert probes.iou(first, second).tolist() == pytest.approx([1 / 7, 0.0, 1 / 4, 0.0])


def test_iou_counts_cells_of_integer_boxes(probes):
    low = torch.randint(0, 6, (50, 2, 2), generator=torch.Generator().manual_seed(0))
    boxes = torch.cat([low, low + torch.randint(1, 6, (50, 2, 2), generator=torch.Generator().manual_seed(1))], dim=2)

    def cells(box):
        return {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}

    expected = [len(cells(a) & cells(b)) / len(cells(a) | cells(b)) for a, b in boxes.tolist()]
    assert probes.iou(boxes[:, 0].float(), boxes[:, 1].float()).tolist() == pytest.approx(expected)


def test_corners_of_centre_and_size(probes):
    boxes = torch.tensor([[0.5, 0.4, 0.2, 0.4], [0.5, 0.5, -0.2, 0.2]])
    expected = torch.tensor([[0.4, 0.2, 0.6, 0.6], [0.5, 0.4, 0.5, 0.6]])  # a negative width is none
    torch.testing.assert_close(probes.corners(boxes), expected)


@pytest.mark.parametrize(("rows", "width"), [(20, 5), (6, 15)])
def test_ridge_is_the_primal_solution(probes, draw, rows, width):
    train, targets, test = draw(rows, width), draw(rows, 3), draw(4, width)
    scale = sum(row @ row for row in train) / rows
    penalties = [0.3, 2.0]
    for penalty, found in zip(penalties, probes.ridge(train, targets, test, penalties), strict=True):
        normal = train.T @ train / scale + penalty * torch.eye(width, dtype=torch.float64)
        weights = torch.linalg.inv(normal) @ train.T @ (targets - targets.mean(0)) / scale
        torch.testing.assert_close(found, test @ weights + targets.mean(0))


def test_tuned_ridge_recovers_a_linear_rule_and_ignores_scale_and_offset(probes, draw):
    tokens, rule = draw(200, 2, 3), draw(6, 2)
    targets = tokens.flatten(1) @ rule + 1
    found = probes.tuned_ridge(tokens[:150], targets[:150], tokens[150:])
    assert (found - targets[150:]).abs().max() < 0.1
    moved = tokens * torch.tensor([1.0, 100.0, 0.01]) + 7
    torch.testing.assert_close(probes.tuned_ridge(moved[:150], targets[:150], moved[150:]), found)


def test_standardised_uses_the_training_part_only(probes, draw):
    train, test = draw(30, 4, 3) * 5 + 2, draw(7, 4, 3)
    known, asked = probes.standardised(train, test)
    torch.testing.assert_close(known.mean(0), torch.zeros(12, dtype=torch.float64))
    scale = (train - train.mean(0)).reshape(-1, 3).std(0)
    expected = torch.stack([((row - train.mean(0)) / scale).reshape(-1) for row in test])
    torch.testing.assert_close(asked, expected)


def test_nearest_is_the_largest_centred_cosine(probes, draw):
    train, test = draw(12, 5) + 4, draw(6, 5) + 4
    centre = train.mean(0)

    def cosine(a, b):
        return float((a - centre) @ (b - centre) / (a - centre).norm() / (b - centre).norm())

    expected = [max(range(12), key=lambda i: cosine(train[i], row)) for row in test]
    assert probes.nearest(train, test).tolist() == expected


def test_pooled_averages_blocks_in_row_order(probes):
    tokens = torch.arange(16.0).reshape(1, 16, 1)  # rows 0-3, 4-7, 8-11, 12-15
    assert probes.pooled(tokens, 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert torch.equal(probes.pooled(tokens, 4), tokens)
