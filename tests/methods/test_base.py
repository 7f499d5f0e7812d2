import inspect

import pytest
import torch
from torch import nn

from coin_lightning.methods.base import HOOKS, Method, evaluation_mode, overriding


def test_hooks_are_the_public_methods_in_the_order_of_the_class_body():
    public = [name for name, member in vars(Method).items() if inspect.isfunction(member) and not name.startswith("_")]
    assert tuple(public) == HOOKS
    assert Method.hooks is HOOKS


def test_a_misspelt_hook_is_refused_by_name_when_the_class_is_made():
    with pytest.raises(TypeError, match=r"Wrong\.after_steps is no hook .*after_step, after_experience"):

        class Wrong(Method):
            def after_steps(self, model):
                """Never called."""


def test_a_subclass_of_a_subclass_is_checked_too():
    class Middle(Method):
        def after_step(self, model):
            """A hook."""

    with pytest.raises(TypeError, match="before_task is no hook"):

        class Leaf(Middle):
            def before_task(self, model):
                """Never called."""


def test_hooks_of_its_own_are_found():
    class Right(Method):
        def loss(self, step, batch):
            return self._half() * step

        def _half(self):
            return 0.5

    own, plain = Right(), Method()
    assert own.loss(4.0, {}) == 2.0
    assert overriding([plain, own], "loss") == [own]
    assert overriding([plain, own], "samples") == []


def test_evaluation_mode_gives_each_part_its_own_mode_back():
    module = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(2))
    module[1].eval()
    with evaluation_mode(module):
        assert torch.equal(module[0](torch.ones(4)), torch.ones(4))
    assert [part.training for part in module.modules()] == [True, True, False]
