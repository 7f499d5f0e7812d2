import inspect

import pytest
import torch

from coin_lightning.methods.base import HOOKS, Method


def test_hooks_are_the_public_methods_in_the_order_of_the_class_body():
    public = [name for name, member in vars(Method).items() if inspect.isfunction(member) and not name.startswith("_")]
    assert tuple(public[:9]) == HOOKS[:9]
    assert set(public) == set(HOOKS)
    assert Method.hooks is HOOKS


def test_a_misspelt_hook_is_refused_by_name_when_the_class_is_made():
    with pytest.raises(TypeError, match=r"Wrong\.after_steps is no hook .*after_step, after_experience"):

        class Wrong(Method):
            def after_steps(self, model, optimizer):
                """Never called."""


def test_hooks_private_helpers_and_plain_attributes_are_allowed():
    class Right(Method):
        weight = 0.5

        def extra_loss(self, model, batch, logits, targets):
            return self._penalty(logits)

        def _penalty(self, logits):
            return self.weight * logits.sum()

    assert Right().extra_loss(None, {}, torch.ones(4), torch.zeros(4)) == 2.0


def test_a_subclass_of_a_subclass_is_checked_too():
    class Middle(Method):
        def after_step(self, model, optimizer):
            """A hook."""

    with pytest.raises(TypeError, match="before_task is no hook"):

        class Leaf(Middle):
            def before_task(self, model):
                """Never called."""


def test_the_base_method_changes_nothing():
    method, rows, embeds = Method("plain"), [1, 2], torch.randn(2, 3, 4)
    assert method.name == "plain"
    assert method.prepare_data("gqa", 1, rows) is rows
    assert method.transform_inputs(embeds, {}) is embeds
    assert method.extra_loss(None, {}, embeds, embeds) is None
    assert method.state_dict() == {}
    for context in (method.batch_context({}), method.route({})):
        with context as value:
            assert value is None
