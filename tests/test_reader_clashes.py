"""Clashes: formulas that no shapes allow.  A clash is certain, so what can be read, or may be meant, never is one."""

from __future__ import annotations

import pytest
from test_reader_systems import reading

from derive import catalogue
from derive.expr import show_shape
from derive.printing import latex, text
from derive.reader.claims import Claim
from derive.reader.tree import Tree

CLASHES = {
    r"\nabla_{h_t} L = V (\hat y_t - y_t)": ("q x n", "q", r"∇_{h_t} L = Vᵀ (ŷ_t - y_t)"),
    r"\frac{\partial L}{\partial h_t} = V (\hat y_t - y_t) + W^\top \frac{\partial L}{\partial a_{t+1}}": (
        "q x n",
        "q",
        r"∇_{h_t} L = Vᵀ (ŷ_t - y_t) + Wᵀ ∇_{a_{t+1}} L",
    ),
    r"\nabla_V L = \sum_t h_t (\hat y_t - y_t)^\top": ("q x n", "n x q", "∇_V L = Σ_{t=1..T} (ŷ_t - y_t) h_tᵀ"),
    r"a_t = b + W h_{t-1} + U h_{t-1}": ("n x m", "n", None),
    r"h_t \odot y_t = 0": ("n", "q", None),
    r"h_t = o_t": ("n", "q", None),
    r"\frac{\partial h_t}{\partial h_{t-1}} = W \operatorname{diag}(\hat y_t)": ("n x n", "q x q", None),
    r"h_t = A z + h_{t-1}^\top W": ("n x m", "n", None),
}
OPEN = {
    "a derivative has a layout": r"\frac{\partial L}{\partial V} = \sum_t h_t (\hat y_t - y_t)^\top",
    "so has one in a product": r"\frac{\partial L}{\partial h_t} = V \frac{\partial L}{\partial o_t}",
    "a name is not known": r"\frac{\partial L}{\partial h_t} = F V y_t",
    "a new name": r"\delta_t = V (\hat y_t - y_t)",
    "a shorthand": r"s_t \odot h_t = h_t",
}
BEFORE = "<!-- derive: system rnn -->\n<!-- derive: declare z: n, A: n x m -->\n$$ s_t = \\hat y_t - y_t $$\n"


def claim(formula: str) -> Claim:
    return reading(f"{BEFORE}$$ {formula} $$").claims[-1]


@pytest.mark.parametrize(("formula", "wanted"), CLASHES.items())
def test_shapes_that_cannot_fit_are_a_clash(formula, wanted):
    found = claim(formula)
    assert found.unread and found.clash is not None
    left, right, mended = wanted
    assert (show_shape(found.clash.left), show_shape(found.clash.right)) == (left, right)
    if mended is not None:
        assert mended in [text(understood.formula) for understood in found.mended]


@pytest.mark.parametrize("why", OPEN)
def test_what_may_be_meant_otherwise_is_no_clash(why):
    found = claim(OPEN[why])
    assert found.unread and found.clash is None, found.clash


@pytest.mark.parametrize("formula", [r"W (h_t^\top h_{t-1}) V^\top = 0", r"W h_t^\top h_{t-1} W = 0"])
def test_every_bracketing_is_tried(formula):
    """`W (hᵀ h) W` is well-shaped; where the reader does not find the brackets, it says nothing of shapes."""
    assert claim(formula).clash is None


@pytest.mark.parametrize("name", catalogue.names())
def test_a_product_with_a_dimension_that_does_not_fit_is_a_clash(name):
    """Each weight of each system on a vector of a size that it does not take, unless shapes allow another meaning."""
    system = catalogue.named(name)
    weights = [v for v in system.variables.values() if v.kind == "parameter" and 1 not in v.shape]
    indexed = [v for v in system.variables.values() if v.indexed and v.kind != "cotangent"]
    vectors = [v for v in indexed if v.shape[1] == 1 != v.shape[0]]
    for weight in weights:
        for vector in vectors:
            product = f"{latex(weight.var)} {latex(vector.var)}"
            found = reading(f"<!-- derive: system {name} -->\n$$ {product} = 0 $$").claims[0]
            fits = vector.shape[0] == weight.shape[1]
            assert (found.clash is None) == fits, f"{name}: {product} is {found.read_as() or found.unread}"


def test_a_place_is_given():
    found = claim(r"\nabla_{h_t} L = V (\hat y_t - y_t)")
    start, end = found.clash.span if found.clash is not None else (0, 0)
    assert isinstance(found.tree, Tree) and found.tree.span[0] <= start < end <= found.tree.span[1]
