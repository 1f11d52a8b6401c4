"""Systems: what may be written, what is inferred, and the wording of everything that is refused."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import sympy

from derive import catalogue, expr, functions
from derive.errors import DeriveError
from derive.expr import Var
from derive.lattice import CycleError, Lattice, Loop, borders, order
from derive.system import LOSS, System

H = "h[t] = tanh(W @ x[t] + U @ h[t-1] + b)"
HEAD = "h[t] = tanh(W @ x[t] + U @ h[t-1] + b)\n"


def cell(equations: str = H, **options: Any) -> System:
    """A cell with one state `h` of size `n`, an input of size `m` and the parameters `W U b`."""
    # The text is padded so that it stands in no file: its places are then those of the system.
    given = {"inputs": "x: m", "parameters": "W U b", "shapes": "h: n", **options}
    return System("cell", equations=equations + " ", **given)


def shapes(system: System) -> dict[str, str]:
    return {name: expr.show_shape(v.shape) for name, v in system.variables.items()}


# --- what may be written ----------------------------------------------------------------------------------------------


def test_shapes_follow_from_the_equations():
    assert shapes(cell()) == {
        "W": "n x m", "U": "n x n", "b": "n", "x": "m", "h": "n", "h_ct": "n", "L": "scalar",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("equations", "options", "found"),
    [
        (
            "C[t] = C[t-1] + x[t] @ k[t].T\nk[t] = W @ x[t]",
            {"parameters": "W", "shapes": "k: n"},
            {"C": "m x n", "W": "n x m"},
        ),
        (
            "s[t] = sigmoid(w.T @ h[t-1] + b)\nh[t] = s[t] * h[t-1] + x[t]",
            {"shapes": "s: scalar", "parameters": "w b"},
            {"s": "scalar", "w": "m", "b": "scalar", "h": "m"},
        ),
        ("h[t] = a * h[t-1] + x[t]", {"parameters": "a: scalar", "shapes": ""}, {"a": "scalar", "h": "m"}),
        ("h[t] = (W.T * V) @ h[t-1] + x[t]", {"parameters": "W V", "shapes": ""}, {"W": "m x m", "V": "m x m"}),
        ("h[t] = diag(b) @ h[t-1] + sum(x[t]) * 2", {"parameters": "b"}, {"b": "n", "h": "n"}),
        ("h[t] = 2 * x[t] / 3 - h[t-1]**2", {"parameters": "", "shapes": ""}, {"h": "m"}),
        ("h[t] = phi(W @ x[t]) + psi(h[t-1])", {"parameters": "W", "unknown_functions": "psi"}, {"W": "n x m"}),
        ("h[t] = layer_norm(max(W @ x[t], h[t-1]))", {"parameters": "W: 3 x m", "shapes": ""}, {"h": "3"}),
        ("h[t] = log_sum_exp(x[t]) + h[t-1]", {"parameters": "", "shapes": "h: scalar"}, {"h": "scalar"}),
    ],
)
def test_roles_and_shapes(equations: str, options: dict[str, str], found: dict[str, str]):
    assert found.items() <= shapes(cell(equations, **options)).items()


def test_numbers_spread_and_fold():
    h = cell("h[t] = 1 - h[t-1] + 2 * (3 * x[t])", parameters="", shapes="").equations["h"]
    x, before = (Var(name, (), (index,), "m", 1) for name, index in (("x", "t"), ("h", "t - 1")))
    symbols = {str(v.index[0]): v for v in expr.variables(h.rhs)}
    assert set(symbols) == {"t", "t - 1"} == {str(x.index[0]), str(before.index[0])}
    assert [expr.split_number(term)[0] for term in h.rhs.args] == [1, -1, 6]


def test_the_order_of_the_author_is_kept():
    assert list(catalogue.load("lstm").equations) == ["i", "f", "g", "o", "c", "m", "h", LOSS]
    assert [v.name for v in catalogue.load("rnn").parameters] == ["b", "W", "U", "c", "V"]


def test_first_line_may_follow_the_quotes():
    system = cell("""h[t] = tanh(W @ x[t]
                                 + g[t])   # a comment

                     g[t] = U @ h[t-1] + b""")
    assert list(system.equations) == ["h", "g", LOSS]


@pytest.mark.parametrize("loss_at", ["every", "last"])
@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        ("", ""),
        ("cross_entropy(h[t], y[t])", "y"),
        ("squared_error(h[t], y[t])", "y: n"),
        ("logistic(h[t], y[t])", "y"),
        ("squared_error(h[t], y[t]) / 2 + sum(h[t]**2)", "y"),
        ("x[t].T @ x[t]", ""),
    ],
)
def test_losses(loss: str, targets: str, loss_at: str):
    system = cell(loss=loss, targets=targets, loss_at=loss_at)
    assert system.loss == loss_at
    assert system.has_loss == bool(loss)
    assert system.variables[LOSS].shape == expr.SCALAR


def test_an_abstract_loss_has_a_cotangent_for_every_output():
    system = cell(f"{H}\ng[t] = h[t]", outputs="g, h")
    assert [v.name for v in system.of_kind("cotangent")] == ["g_ct", "h_ct"]
    assert [v.name for v in catalogue.load("rnn").with_cotangents("h").of_kind("cotangent")] == ["h_ct"]
    assert not catalogue.load("rnn").with_cotangents("h").of_kind("target")


def test_outputs_left_out_are_the_last_states():
    assert cell(f"{H}\ng[t] = h[t]\nk[t] = h[t]").outputs == ("g", "k")
    assert cell().outputs == ("h",)


@pytest.mark.parametrize(
    ("equations", "boundary", "keys"),
    [
        ("h[t] = x[t] + h[t-2]", {}, ["h[0]", "h[-1]"]),
        ("h[t] = x[t] + h[t+1]", {"h": "learned"}, ["h[T+1]"]),
        ("h[t] = x[t] + h[t+3]", {"h": "zero"}, []),
        ("h[t] = x[t-1] + x[t+1]", {}, ["x[0]", "x[T+1]"]),
        ("h[i,j] = x[i,j] + h[i-1,j]", {}, []),
        ("h[i,j] = x[i,j] + h[i-1,j]", {"h": "given"}, ["h[0,j]"]),
        ("h[i,j] = x[i,j] + h[i-1,j+1]", {"h": "given"}, ["h[i,J+1]", "h[0,j]", "h[0,J+1]"]),
    ],
)
def test_boundary_values(equations: str, boundary: dict[str, str], keys: list[str]):
    system = cell(equations, parameters="", shapes="", boundary=boundary)
    assert [b.key for b in system.borders] == keys


# --- orders of evaluation ---------------------------------------------------------------------------------------------


def test_what_lies_outside_every_cycle_is_not_looped_over():
    system = cell("a[t] = W @ x[t] + b\nh[t] = tanh(a[t] + U @ h[t-1])\no[t] = h[t]")
    assert system.schedule == ("a", Loop(0, 1, ("h",)), "o", LOSS)


def test_directions():
    up, down = (item for item in catalogue.load("birnn").schedule if isinstance(item, Loop))
    assert (up.body, up.direction, down.body, down.direction) == (("h_fwd",), 1, ("h_bwd",), -1)


def test_a_sweep_may_run_one_chain_behind_another():
    """`a` reads `b` one step ahead, which reads `a` two steps back: `b` is computed a step before `a`."""
    (loop,) = order(("a", "b"), [("a", "b", (1,)), ("b", "a", (-2,))], 1)
    assert isinstance(loop, Loop) and loop.direction == 1 and loop.shifts == {"a": 1}


def test_a_grid_may_need_both_axes():
    (loop,) = order(("h",), [("h", "h", (-1, 1)), ("h", "h", (0, -1))], 2)
    assert isinstance(loop, Loop) and (loop.axis, loop.direction) == (0, 1)
    assert loop.body == (Loop(1, 1, ("h",)),)


@pytest.mark.parametrize("first", [(0,), (1,)])
def test_orders_that_do_not_exist(first: tuple[int]):
    with pytest.raises(CycleError):
        order(("a", "b"), [("a", "b", first), ("b", "a", (0,)), ("b", "b", (-1,))], 1)


def test_orders_against_every_small_chain():
    """Two variables, all offsets from -2 to 2: a sweep exists just where no cycle gains in one direction."""
    for out, back, own in product(range(-2, 3), repeat=3):
        edges = [("a", "b", (out,)), ("b", "a", (back,)), ("a", "a", (own,))]
        cycles = (out + back, own)
        possible = all(c < 0 for c in cycles) or all(c > 0 for c in cycles)
        try:
            order(("a", "b"), edges, 1)
        except CycleError:
            assert not possible, edges
        else:
            assert possible, edges


def test_borders_are_listed_nearest_first():
    lattice = Lattice.named("ij")
    assert [b.key for b in borders("h", [(-1, 0), (0, -2)], lattice)] == ["h[i,0]", "h[i,-1]", "h[0,j]"]


# --- what is refused, word for word -----------------------------------------------------------------------------------

ADD = "give it an equation or list it among the inputs or parameters"
FORM = "write it like h[t] = tanh(W @ h[t-1] + b)"
MEANS = "has no meaning in an equation; use + - * / @ ** .T, names, numbers and functions"

BAD_EQUATIONS = {
    # shapes
    HEAD + "g[t] = W * x[t]": (
        "2:8: a Hadamard product needs equal shapes, found n x m and m in 'W * x[t]'; "
        "* is the Hadamard product, did you mean the matrix product @?"
    ),
    "h[t] = tanh(x[t] @ W + U @ h[t-1] + b)": (
        "1:13: a sum needs equal shapes, found n and m in 'x[t] @ W + U @ h[t-1] + b'"
    ),
    HEAD + "g[t] = W @ h[t]": (
        "2:8: a matrix product needs inner dimensions that agree, found n x m and n in 'W @ h[t]'; "
        "@ is the matrix product, did you mean * or a transpose .T?"
    ),
    HEAD + "g[t] = h[t] + x[t]": "2:8: a sum needs equal shapes, found n and m in 'h[t] + x[t]'",
    HEAD + "h_2[t] = h[t] @ h[t].T\ng[t] = softmax(h_2[t])": (
        "3:8: softmax takes a column vector, found n x n in 'softmax(h_2[t])'"
    ),
    # names
    "h[t] = tanh(W @ x[t] + Uh @ h[t-1] + b)": f"1:24: Uh is not defined (did you mean U?); {ADD}",
    "h[t] = tanh(W @ x[t] + U @ g[t-1] + b)": f"1:28: g is not defined; {ADD}",
    "h[t] = tanh(W @ x[t] + U @ h + b)": "1:28: h needs an index here: h[t]",
    "h[t] = tanh(W[t] @ x[t] + U @ h[t-1] + b)": (
        "1:13: W is a parameter and has no index; write W, or list it among the inputs"
    ),
    "h[t] = t * tanh(W @ x[t] + U @ h[t-1] + b)": (
        "1:8: t is an index and has no value in an equation; read it from an input"
    ),
    HEAD + "h[t] = b": "2:1: h is defined twice, here and by an equation before",
    "x[t] = tanh(W @ x[t] + U @ h[t-1] + b)": "1:1: x is defined twice, here and among the inputs",
    "L[t] = b": "1:1: L is the name of the loss; write it as loss='…'",
    # functions
    "h[t] = tahn(W @ x[t] + U @ h[t-1] + b)": (
        "1:8: tahn is not a function that derive knows (did you mean tanh?); "
        "one without a formula is listed in unknown_functions"
    ),
    "h[t] = tanh(W @ x[t] + U @ h(t-1) + b)": "1:28: h is not a function; did you mean h[t-1]?",
    "h[t] = np.tanh(W @ x[t] + U @ h[t-1] + b)": "1:8: np.tanh is written without its module: tanh",
    "h[t] = tanh(W @ x[t], U @ h[t-1] + b)": "1:8: tanh takes 1 argument, found 2",
    "h[t] = max(W @ x[t] + U @ h[t-1] + b)": "1:8: max takes 2 arguments, found 1",
    # indices
    "h[t] = tanh(W @ x[s] + U @ h[t-1] + b)": ("1:17: 'x[s]' is read at an index that is not t plus or minus a number"),
    "h[t] = tanh(W @ x[2*t] + U @ h[t-1] + b)": (
        "1:17: 'x[2*t]' is read at an index that is not t plus or minus a number"
    ),
    "h[t] = tanh(W @ x[t] + U @ h[0] + b)": (
        "1:28: 'h[0]' is read at a fixed point; a read at t-1 brings in the boundary value"
    ),
    "h[t] = tanh(W @ x[t] + U @ h[t-1, 0] + b)": "1:28: 'h[t-1, 0]' needs 1 index: [t]",
    "h[i,j] = tanh(W @ x[i,j] + U @ h[i-1] + b)": "1:32: 'h[i-1]' needs 2 indices: [i,j]",
    "h[t] = tanh(W @ x[t] + U @ h[t-65] + b)": "1:28: 'h[t-65]' is read too far away: offsets go up to 64",
    "h[t+1] = tanh(W @ x[t] + U @ h[t] + b)": (
        "1:1: a left-hand side stands at the plain index, as in h[t]: shift the whole equation; found 'h[t+1]'"
    ),
    "h[0] = b": "1:1: a left-hand side stands at the plain index, as in h[t]: shift the whole equation; found 'h[0]'",
    "h[i,i] = b": "1:1: indices are different lower-case names, as in h[i,j]; found 'h[i,i]'",
    HEAD + "g[i,j] = b": "2:1: all equations live on one lattice, here [t]; found 'g[i,j]'",
    # cycles
    "h[t] = tanh(W @ x[t] + U @ h[t] + b)": "1:28: h[t] is defined by itself; did you mean h[t-1]?",
    "h[i,j] = x[i,j] + h[i,j]": "1:19: h[i,j] is defined by itself; did you mean h[i-1,j]?",
    "z[t] = tanh(U @ h[t])\nh[t] = z[t] * tanh(W @ x[t] + b)": (
        "1:1: z[t] needs itself: z[t] <- h[t] <- z[t]; read one of them a step earlier, say z[t-1]"
    ),
    "h[t] = tanh(W @ x[t] + U @ h[t-1] + h[t+1] + b)": (
        "1:1: no order of evaluation exists: h reads h[t-1], h reads h[t+1]; "
        "give each direction a chain of its own, as birnn does"
    ),
    # syntax
    "h[t] = tanh(W @ x[t] + U @ h[t-1] + b": (
        f"1:12: this is no equation ('(' was never closed): 'h[t] = tanh(W @ x[t] + U @ h[t-1] + b'; {FORM}"
    ),
    "h[t] == b": "1:1: an equation has the form name[t] = expression, found 'h[t] == b'",
    "h = b": "1:1: an equation has the form name[t] = expression, found 'h = b'",
    "import os": "1:1: an equation has the form name[t] = expression, found 'import os'",
    "h[t] = h[t-1] ^ x[t]": f"1:8: 'h[t-1] ^ x[t]' {MEANS}",
    "h[t] = [c for c in x[t]]": f"1:8: '[c for c in x[t]]' {MEANS}",
    "h[t] = __import__('os').system('true')": f"1:8: '__import__('os').system('true')' {MEANS}",
    "h[t] = x[t].shape": f"1:8: 'x[t].shape' {MEANS}",
    "h[t] = 'a' + b": f"1:8: ''a'' {MEANS}",
    "h[t] = 1e999 * b": f"1:8: '1e999' {MEANS}",
    "h[t] = b**0.5": ("1:8: an exponent is a whole number up to 64; write exp(b * log(a)) or sqrt(a), found 'b**0.5'"),
    "h[t] = 9**99999999 * b": (
        "1:8: an exponent is a whole number up to 64; write exp(b * log(a)) or sqrt(a), found '9**99999999'"
    ),
    "h[t] = b / 0": "1:8: 'b / 0' divides by zero",
    "": "1:1: a system needs at least one equation",
    "# nothing": "1:1: a system needs at least one equation",
    "h[t] = " + " + ".join(["b"] * 20000): "nested too deeply; give its parts names",
}


@pytest.mark.parametrize(("equations", "message"), BAD_EQUATIONS.items(), ids=range(len(BAD_EQUATIONS)))
def test_bad_equations(equations: str, message: str):
    with pytest.raises(DeriveError) as error:
        cell(equations)
    found = str(error.value)
    assert found == f"cell:{message}" if message[0].isdigit() else message in found


BAD_OPTIONS = [
    ({"inputs": "x: m, z"}, "the input z is read by no equation; use it or leave it out"),
    ({"parameters": "W U b V"}, "the parameter V is read by no equation; use it or leave it out"),
    ({"targets": "y: q"}, "the target y is read by no equation; use it or leave it out"),
    ({"parameters": "W U b W"}, "W is declared twice, again in 'W U b W'"),
    ({"parameters": "W U b x"}, "x is among the parameters and among the inputs; give one a new name"),
    ({"parameters": "W: m, U b", "shapes": "h: n, W: n"}, "W is given two shapes, among the parameters and in shapes"),
    ({"parameters": "W U 2b"}, "'2b' in 'W U 2b' is not a name; declare as in 'W_z: n x m, x: m, a: scalar'"),
    ({"parameters": "W U b L"}, "L is the name of the loss; call the one among the parameters something else"),
    ({"shapes": "hh: n"}, "a shape is given for hh, which is no variable of the system (did you mean h?)"),
    ({"shapes": "h: n x"}, "the shape in 'h: n x' is not understood; write 'n' for a vector, 'n x m' or 'scalar'"),
    ({"shapes": ""}, "the equations leave the shape open of W, U, h, b; declare what is missing, say shapes='h: n'"),
    ({"outputs": "hh"}, "the output hh has no equation (did you mean h?)"),
    ({"loss_at": "final"}, "loss_at is 'every' or 'last', found 'final'"),
    ({"boundary": {"hh": "zero"}}, "a boundary value is chosen for hh, which is no state or input (did you mean h?)"),
    ({"boundary": {"h": "none"}}, "the boundary values of h are given, zero, learned; found 'none'"),
    ({"equations": HEAD + "h_bar[t] = h[t]"}, "h_bar is the name of the adjoint of h; call it something else"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS, ids=range(len(BAD_OPTIONS)))
def test_bad_options(options: dict[str, Any], message: str):
    with pytest.raises(DeriveError) as error:
        cell(**options)
    assert str(error.value) == f"cell: {message}"


BAD_LOSSES = [
    ("cross_entropy(h[t], y[t]) ", "1:1: cross_entropy needs arguments of equal shapes, found n and q in "
                                   "'cross_entropy(h[t], y[t])'"),
    ("  squared_error(h[t], yy[t])", f"1:23: yy is not defined (did you mean y?); {ADD}"),
    ("h[t] - U @ h[t] + sum(y[t]) ", "1:1: a loss is a scalar, found n in 'h[t] - U @ h[t] + sum(y[t])'"),
    ("E = squared_error(h[t], y[t])", "1:1: a loss is one expression, such as cross_entropy(o[t], y[t]), "
                                      "found 'E = squared_error(h[t], y[t])'"),
    ("squared_error(h[t], y[t] ", "1:14: this is no loss ('(' was never closed): 'squared_error(h[t], y[t]'; "
                                  "write it like cross_entropy(o[t], y[t])"),
]  # fmt: skip


@pytest.mark.parametrize(("loss", "message"), BAD_LOSSES, ids=range(len(BAD_LOSSES)))
def test_bad_losses(loss: str, message: str):
    lines = {"inputs": "x: m", "parameters": "W U b", "shapes": "h: n", "targets": "y: q"}
    with pytest.raises(DeriveError) as error:
        System("cell", equations=H + " ", loss=loss + "  ", **lines)
    assert str(error.value) == f"cell:{message}"


def test_variable_that_is_not_there():
    with pytest.raises(DeriveError, match=r"^gru has no variable Uz \(did you mean U_z\?\)$"):
        catalogue.load("gru").variable("Uz")


# --- places -----------------------------------------------------------------------------------------------------------


def place_of(source: str, tmp_path: Any) -> str:
    file = tmp_path / "cell.py"
    file.write_text("from derive import System\n" + source, encoding="utf-8")
    with pytest.raises(DeriveError) as error:
        catalogue.load(f"{file}:cell")
    return str(error.value).removeprefix(f"{file}:").partition(": ")[0]


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ('cell = System("cell", equations="h[t] = W @ h[t-1]")', "2:41"),
        ('cell = System("cell",\n  equations="""h[t] = h[t-1]\n     g[t] = W @ h[t]""")', "4:13"),
        ('cell = System("cell", equations="""\n\n    h[t] = h[t-1]\n    g[t] = (h[t]\n            + W)\n""")', "6:15"),
        ('text = """\n  h[t] = W * h[t-1]\n"""\ncell = System("cell", equations=text)', "3:10"),
        ('"""h[t] = W"""\ncell = System("cell", equations="h[t] = W")', "3:41"),
        ('cell = System("cell", equations="θ[t] = θ[t-1] + é @ W")', "2:50"),
        ('cell = System("cell", equations="h[t] = h[t-1]", loss="norm(h[t])")', "2:56"),
        ('cell = System("cell", equations="h[t] = h[t-1] \\\\\\n + W")', "cell:2:4"),
        ('cell = System("cell", equations="h[t] = {}".format("W"))', "cell:1:8"),
    ],
)
def test_places_in_files(source: str, place: str, tmp_path: Any):
    assert place_of(source, tmp_path) == place


# --- functions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in functions.TABLE if functions.closed(name)])
def test_closed_derivatives_are_the_derivatives(name: str):
    closed, f, derivative = functions.closed(name), functions.expression(name), functions.expression(name, 1)
    assert closed is not None
    formula = functions.expression(closed.row) if closed.row else closed.expression
    assert formula is not None and f is not None and derivative is not None
    for value in (sympy.Rational(1, 3), sympy.Rational(7, 5), 3):
        at = {functions.x: value}
        shown = formula.subs({**at, functions.y: f.subs(at)})
        assert abs(sympy.N(shown - derivative.subs(at), 30)) < 1e-25


def test_which_derivatives_are_closed():
    closed = {name: functions.closed(name) for name in functions.TABLE}
    y = functions.y
    assert {n: c.row for n, c in closed.items() if c and c.row} == {
        "relu": "step",
        "softplus": "sigmoid",
        "cosh": "sinh",
        "sinh": "cosh",
        "abs": "sign",
    }
    assert {n: c.expression for n, c in closed.items() if c and c.expression is not None and c.expression.has(y)} == {
        "sigmoid": y - y**2, "tanh": 1 - y**2, "exp": y, "sqrt": 1 / (2 * y),
    }  # fmt: skip
    assert functions.closed("phi") is None
    assert functions.expression("phi") is None and functions.expression("anything", 3) is None
