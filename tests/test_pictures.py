"""Pictures: well-formed, within their frame, the same twice; their edges and numbers found again by another road."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from html import unescape
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import jacobian
from test_render import browse

from derive import catalogue, cli, pictures, queries
from derive.errors import DeriveError
from derive.pictures import Picture, ceilings, contributions, growth, measured, sampled
from derive.pictures.axes import number
from derive.pictures.dependencies import carriers, contracted, highlight, reads, shown_variables
from derive.pictures.graph import Graph
from derive.pictures.model import Box, Label, Stroke

SVG = "{http://www.w3.org/2000/svg}"
EVERY = [*catalogue.names(), "mdrnn(3)"]


def main_query(name: str) -> str:
    """A Jacobian between neighbours, or for a state that is a matrix the paths to it."""
    found = queries.jacobians(catalogue.load(name))
    return found[0] if found else "paths S[t] <- S[t-1]"


def drawn(name: str, kind: str = "graph", query: str | None = None, **options) -> Picture:
    return pictures.draw(catalogue.load(name), kind, query, **options)


def root(picture: Picture) -> ElementTree.Element:
    return ElementTree.fromstring(picture.svg())


# --- the graph of every system --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [False, True], ids=["plain", "with-paths"])
@pytest.mark.parametrize("name", EVERY)
def test_the_graph_is_a_picture_with_words_inside_its_frame(name, asked):
    picture = drawn(name, query=main_query(name) if asked else None)
    assert_stands_by_itself(picture)
    assert_within(picture)
    assert name in picture.alt


def assert_stands_by_itself(picture: Picture) -> None:
    """Well-formed, named, described, and it neither reads nor styles anything outside itself."""
    svg = root(picture)
    title, description = svg.find(f"{SVG}title"), svg.find(f"{SVG}desc")
    assert svg.get("role") == "img" and title is not None and description is not None
    assert svg.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert title.text == picture.title and description.text == picture.alt and picture.alt.endswith(".")
    style = svg.findtext(f"{SVG}style") or ""
    selectors = [s for rule in re.findall(r"([^{}]+)\{", style) if not rule.startswith("@") for s in rule.split(",")]
    assert selectors and all(s.strip().startswith(".derive-picture") for s in selectors)
    outside = re.findall(r"url\(|@import|href|http[^\"]*", picture.svg())
    assert outside == ["http://www.w3.org/2000/svg"]
    assert "prefers-color-scheme:dark" in style


def assert_within(picture: Picture) -> None:
    for shape in picture.shapes:
        left, top, right, bottom = shape.extent
        inside = min(left, top) >= -0.01 and right <= picture.width + 0.01 and bottom <= picture.height + 0.01
        assert inside, f"{shape} reaches out of {picture.width} × {picture.height}"


@pytest.mark.parametrize("name", EVERY)
def test_no_node_covers_another_and_no_name_leaves_its_node(name):
    shapes = drawn(name, query=main_query(name)).shapes
    nodes = [s for s in shapes if isinstance(s, Box) and s.role.startswith("node")]
    names = [s for s in shapes if isinstance(s, Label) and s.role.startswith(("name", "note")) and s.size in (12, 15)]
    for k, a in enumerate(nodes):
        for b in nodes[:k]:
            apart = (
                abs(a.centre[0] - b.centre[0]) >= (a.width + b.width) / 2 or abs(a.centre[1] - b.centre[1]) >= a.height
            )
            assert apart, f"{a.tip} covers {b.tip}"
    for node in nodes:
        own = [s for s in names if abs(s.at[0] - node.centre[0]) < 0.01 and 0 < s.at[1] - node.centre[1] < 6]
        assert len(own) == 1 and own[0].words.width(own[0].size) <= node.width, node.tip


MEASURE = """<script>
const found = [...document.querySelectorAll("svg")].flatMap((svg) => {
  const frame = svg.viewBox.baseVal, name = svg.querySelector("title").textContent;
  const off = (box, l, t, r, b) => box.x < l - 1 || box.y < t - 1 || box.x + box.width > r + 1 || box.y + box.height > b + 1;
  const texts = [...svg.querySelectorAll("text")];
  const out = texts.filter((text) => off(text.getBBox(), 0, 0, frame.width, frame.height));
  const spilt = [...svg.querySelectorAll("rect.node")].filter((node) => {
    const box = node.getBBox(), text = node.nextElementSibling.getBBox();
    return text.x < box.x || text.x + text.width > box.x + box.width;
  });
  return [...out, ...spilt.map((node) => node.nextElementSibling)].map((text) => name + ": " + text.textContent);
});
const wide = document.documentElement.scrollWidth - innerWidth;
document.body.innerHTML = "";
document.body.append(Object.assign(document.createElement("pre"), {id: "found", textContent: JSON.stringify([found, wide])}));
</script>"""


def test_in_a_browser_every_word_is_where_it_was_thought_to_be(tmp_path):
    drawings = [drawn(name, query=query).svg() for name in EVERY for query in (None, main_query(name))]
    drawings += [drawn("birnn", unroll=3).svg(), drawn("lstm", "paths", "dc[t]/dc[t-1]").svg()]
    page = '<!DOCTYPE html><meta charset="utf-8"><body style="width: 360px">' + "".join(drawings) + MEASURE
    told = re.search(r'<pre id="found">(.*?)</pre>', browse(page, tmp_path), re.DOTALL)
    assert told is not None
    outside, wide = json.loads(unescape(told[1]))
    assert not outside
    assert wide <= 0


def naive_paths(name: str, query: str, most: int = 12) -> set[tuple[str, ...]]:
    """Every path of a Jacobian as the names of its points, by walking all reads backwards: no table, no bounds."""
    system = catalogue.load(name)
    (above, at), (below, end) = re.findall(
        r"(\w+)\[([^\]]*)\]", query.replace("/d", " ").lstrip("d").removeprefix("paths")
    )
    indices = [str(i) for i in system.lattice.indices]

    def offset(text: str) -> tuple[int, ...]:
        return tuple(int(part[len(i) :] or 0) for part, i in zip(text.split(","), indices, strict=True))

    def shown(variable: str, point: tuple[int, ...]) -> str:
        return f"{variable}[{','.join(i + (f'{o:+d}' if o else '') for i, o in zip(indices, point, strict=True))}]"

    found, pending = set(), [((above, offset(at)),)]
    while pending:
        way = pending.pop()
        variable, point = way[0]
        if (variable, point) == (below, offset(end)):
            found.add(tuple(shown(*step) for step in way))
        elif len(way) < most:
            for target, source, move in system.reads:
                after = tuple(a + b for a, b in zip(point, move, strict=True))
                if target == variable and sum(map(abs, after)) <= sum(map(abs, offset(end))):
                    pending.append(((source, after), *way))
    return found


@pytest.mark.parametrize("name", EVERY)
def test_the_highlighted_edges_are_those_of_the_paths(name):
    query = main_query(name)
    expected = naive_paths(name, query)
    assert expected
    picture = drawn(name, query=query)
    for way in expected if len(expected) <= 12 else ():
        assert " → ".join(way) in picture.alt
    edges = {f"{a} → {b}" for way in expected for a, b in pairwise(way)}
    bold = [s for s in picture.shapes if isinstance(s, Stroke) and "path-" in s.role and s.tip]
    assert {s.tip for s in bold} == edges
    if len(expected) <= 6:
        hues: dict[str, set[str]] = {}
        for stroke in bold:
            hues.setdefault(re.search(r"path-\d", stroke.role)[0], set()).add(stroke.tip)
        ways = [{f"{a} → {b}" for a, b in pairwise(way)} for way in expected]
        assert sorted(map(sorted, hues.values())) == sorted(map(sorted, ways))


@pytest.mark.parametrize("name", EVERY)
def test_a_link_stands_for_the_ways_through_what_is_left_out(name):
    system = catalogue.load(name)
    shown = set(shown_variables(system, set()))
    links, found = reads(system), set()
    for target in shown:
        pending = [(k.source, k.offset) for k in links if k.target == target]
        while pending:
            variable, offset = pending.pop()
            if variable in shown:
                found.add((target, variable, offset))
            else:
                onward = [k for k in links if k.target == variable]
                pending += [(k.source, tuple(a + b for a, b in zip(offset, k.offset, strict=True))) for k in onward]
    assert {(k.target, k.source, k.offset) for k in contracted(links, shown)} == found


def test_a_chain_is_drawn_in_the_order_of_its_steps_with_inputs_below_and_the_loss_above():
    graph = Graph(pictures.Request(catalogue.load("rnn"), unroll=3))
    at = {(n, o[0]): graph.grid.node(n, o) for o in graph.window.points for n in graph.names}
    assert at["h", 1][0] < at["h", 2][0] < at["h", 3][0]
    heights = [at[n, 2][1] for n in ("x", "a", "h", "o", "L")]
    assert heights == sorted(heights, reverse=True)
    assert [graph.title(o) for o in graph.window.points] == ["1", "2", "3"]


def test_an_unrolled_chain_begins_with_its_boundary_value_and_goes_nowhere_else():
    shapes = drawn("gru", unroll=2).shapes
    assert [s.tip for s in shapes if isinstance(s, Box) and "border" in s.role] == ["h[0]"]
    assert not [s for s in shapes if isinstance(s, Label) and s.words.plain == "⋯"]


def test_names_held_constant_end_the_paths_through_them():
    held = drawn("gru", query="dh[t]/dh[t-1]", hold=("z",))
    assert "3 paths" in held.alt and "z held constant" in held.alt and "z[t]" not in held.alt


def test_paths_to_the_total_loss_reach_as_far_as_is_shown():
    found = highlight(catalogue.load("rnn"), "dL/dh[t]", None, ())
    assert {w.target.offset for w in found.walks} == {(0,), (1,), (2,)}
    assert "as far as shown" in drawn("rnn", query="dL/dh[t]").alt


def test_labels_are_the_local_partials_and_cover_no_node():
    picture = drawn("lstm", query="dc[t]/dc[t-1]", labels=True)
    small = [s for s in picture.shapes if isinstance(s, Label) and s.size == 11]
    assert {"diag(ft)", "diag(ct−1)", "diag(ot−1)"} <= {s.words.plain for s in small}
    nodes = [s.extent for s in picture.shapes if isinstance(s, Box) and s.role.startswith("node")]
    for label in small:
        left, top, right, bottom = label.extent
        assert not [n for n in nodes if left < n[2] and n[0] < right and top < n[3] and n[1] < bottom]


@pytest.mark.parametrize(
    ("query", "options", "said"),
    [
        ("dL/dU_z", {}, "U_z in 'dL/dU_z' is a parameter"),
        ("forward", {}, "not 'forward'"),
        ("dL[t]/dh[k]", {}, "write numbers, as in 'dL[3]/dh[1]'"),
        ("dh[t]/dq[t-1]", {}, "asks for q, which gru does not have"),
        (None, {"unroll": 40}, "a picture of 40 steps of gru is too wide"),
        ("dh[t]/dh[t-9999]", {}, "has more than 1000 links, too many to be read"),
        (None, {"hold": "zz"}, "zz can't be held constant: gru has no equation for it (did you mean z?)"),
    ],
)
def test_what_a_graph_cannot_show_is_a_sentence(query, options, said):
    with pytest.raises(DeriveError, match=re.escape(said)):
        drawn("gru", query=query, **options)


# --- the flow of the gradient ---------------------------------------------------------------------------------------------


def hand_written_norms(draw: sampled.Draw, direction: np.ndarray) -> list[float]:
    """`|∂L_T/∂h_t|` of `rnn`, from the last step back, by a loop and its Jacobians."""
    U, W, b = (draw.params[n] for n in "UWb")
    states, h = [], np.zeros(len(W))
    for x in draw.inputs["x"]:
        h = np.tanh(b + W @ h + U @ x)
        states.append(h)
    norms, g = [], direction
    for h in reversed(states):
        norms.append(float(np.sqrt(g @ g)))
        g = W.T @ ((1 - h**2) * g)
    return norms


@pytest.mark.parametrize("scale", [0.5, 1.5, 3.0])
def test_the_flow_of_the_rnn_is_that_of_a_loop_written_by_hand(scale):
    system = catalogue.load("rnn")
    draw = sampled.draw(system, "h", scale, 20, seed=3)
    direction = sampled.direction(system, "h", "h", 20, -1, 3)[-1]
    found, expected = measured.gradient_norms(system, "h", draw, 3), hand_written_norms(draw, direction)
    np.testing.assert_allclose(found, expected, rtol=1e-9, err_msg="seed 3")


@pytest.mark.parametrize(
    "name", ["gru", "lstm", "elman", "irnn", "linear-rnn", "skip-rnn", "birnn", "blstm", "stacked-lstm"]
)
def test_the_flow_is_that_of_the_emitted_vjp_of_what_follows(name):
    """`∂L_T/∂h_t` is the gradient by the initial value of a sequence that begins after `t`, all else as it was."""
    system = catalogue.load(name)
    state, steps, at = measured.state_of(system, None), 8, 4
    draw = sampled.draw(system, state, 1.0, steps, seed=1)
    norms = measured.gradient_norms(system, state, draw, 1)
    program = system.with_cotangents(state).compile()
    values = program.forward(draw.params, draw.inputs)
    tail = {n: a[at:] for n, a in draw.inputs.items()}
    initial = {
        key: values[key.partition("[")[0]][at - 1 + int(key.partition("[")[2][:-1])] for key in inner(program, steps)
    }
    cotangent = {state: sampled.direction(system, state, state, steps, -1, 1)[at:]}
    gradient = program.vjp(draw.params, tail, cotangent, initial)[f"{state}[0]"]
    np.testing.assert_allclose(norms[steps - at], np.sqrt((gradient**2).sum()), rtol=1e-9, err_msg=f"{name}, seed 1")


def inner(program, steps: int) -> list[str]:
    """The initial values before the first step; those after the last stay zero."""
    return [key for key in program.module.INITIAL if re.fullmatch(r"\w+\[-?\d+\]", key)]


WITHOUT_BOUND = ("linear-attention", "mdlstm", "mdrnn", "mdrnn(3)")
"""A matrix for a state, and grids."""


@pytest.mark.parametrize("scale", [0.5, 3.0])
@pytest.mark.parametrize("name", EVERY)
def test_no_draw_exceeds_its_bound(name, scale):
    system = catalogue.load(name)
    for state in dict.fromkeys((measured.state_of(system, None), *carriers(reads(system)))):
        if name not in WITHOUT_BOUND:
            draw = sampled.draw(system, state, scale, 12, seed=5)
            bound = ceilings.bound(system, measured.head(system, state), state, draw)
            norms = measured.gradient_norms(system, state, draw, 5)
            assert bound is not None and np.isnan(bound[0])
            assert (norms[1:] <= bound[1:] * (1 + 1e-9)).all(), f"{state}, seed 5:\n{norms}\n{bound}"


@pytest.mark.parametrize(("name", "rate"), [("rnn", 1), ("elman", 0.25), ("linear-rnn", 1), ("jordan", 0.25**2 * 3)])
def test_a_bound_that_is_known_in_closed_form(name, rate):
    system = catalogue.load(name)
    state = measured.state_of(system, None)
    found = ceilings.bound(system, state, state, sampled.draw(system, state, 3.0, 6, seed=0))
    np.testing.assert_allclose(found[1:], [(3 * rate) ** k for k in range(1, 6)])


@pytest.mark.parametrize("name", EVERY)
def test_the_flow_of_every_system_is_a_picture_with_its_numbers_in_words(name, monkeypatch):
    monkeypatch.setattr(measured, "DRAWS", 2)
    monkeypatch.setattr(measured, "STEPS", {1: 8, 2: 5, 3: 3})
    picture = drawn(name, "flow", scales=(0.5, 2.0))
    assert_stands_by_itself(picture)
    assert_within(picture)
    recurrent = sampled.recurrent_matrices(catalogue.load(name))
    assert [s in picture.alt for s in ("s = 0.5", "s = 2")] == [bool(recurrent)] * 2
    for matrix in recurrent:
        drawn_matrix = sampled.draw(
            catalogue.load(name), measured.state_of(catalogue.load(name), None), 2.0, 3, 0
        ).params[matrix]
        np.testing.assert_allclose(np.linalg.svd(drawn_matrix, compute_uv=False), 2.0)


def test_the_words_of_a_flow_are_the_medians_that_were_measured(monkeypatch):
    monkeypatch.setattr(measured, "DRAWS", 3)
    found = measured.flow(catalogue.load("gru"), None, (0.5,), seed=4)
    by_hand = [
        measured.gradient_norms(found.system, "h", sampled.draw(found.system, "h", 0.5, 51, s), s) for s in (12, 13, 14)
    ]
    np.testing.assert_array_equal(found.curves[0].middle, np.median(by_hand, axis=0))
    assert f"s = 0.5: {number(np.median(by_hand, axis=0)[50])}" in drawn("gru", "flow", scales=(0.5,), seed=4).alt


def test_several_cells_share_their_axes(monkeypatch):
    monkeypatch.setattr(measured, "DRAWS", 2)
    picture = drawn("rnn", "flow", "dL/dh[t]", others=tuple(map(catalogue.load, ("lstm", "linear-attention"))))
    ticks = [s.words.plain for s in picture.shapes if isinstance(s, Label) and s.anchor == "end"]
    assert len(ticks) % 3 == 0 and ticks == ticks[: len(ticks) // 3] * 3
    assert all(f"{name}: |∂L[T]/∂" in picture.alt for name in ("rnn", "lstm", "linear-attention"))


def test_a_state_that_nothing_flows_through_is_a_sentence():
    with pytest.raises(DeriveError, match=re.escape("is asked for as 'dL/dh[t]', not 'dL/dz[t]'")):
        drawn("gru", "flow", "dL/dz[t]")
    with pytest.raises(DeriveError, match="V_g is no parameter of gru"):
        drawn("gru", "flow", where={"V_g": 1})
    for kind in ("flow", "paths"):
        with pytest.raises(DeriveError, match="the seed of a picture is a whole number from 0 on, found -1"):
            drawn("gru", kind, seed=-1)
        for scale in (0.0, -1.0, 1e300, float("inf"), float("nan")):
            with pytest.raises(DeriveError, match="above 0 and at most 1000, found"):
                drawn("gru", kind, scales=(scale,))


def test_numbers_beyond_float64_are_no_error():
    assert [number(v) for v in (0.52, 3.1e-9, float("inf"), float("nan"))] == ["0.52", "3.1·10⁻⁹", "∞", "∞"]
    assert "s = 1000: " in drawn("gru", "flow", scales=(1000.0,)).alt


# --- what each path contributes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in EVERY if queries.jacobians(catalogue.load(n))])
def test_the_contributions_of_every_system_are_a_picture(name, monkeypatch):
    monkeypatch.setattr(contributions, "DRAWS", 2)
    picture = drawn(name, "paths", main_query(name))
    assert_stands_by_itself(picture)
    assert_within(picture)
    bars = [s for s in picture.shapes if isinstance(s, Box)]
    assert len(bars) == len(naive_paths(name, main_query(name))) + 1


def test_the_paths_of_the_gru_add_up_to_the_jacobian_that_autograd_finds():
    system = catalogue.load("gru")
    found = highlight(system, "dh[t]/dh[t-1]", None, ())
    (t,), draw, values = at_middle(system, found.walks, "h")
    p, x, before = draw.params, draw.inputs["x"][t - 1], values["h"][t - 2]

    def step(h):
        def sigmoid(a):
            return 1 / (1 + anp.exp(-a))

        z = sigmoid(p["W_z"] @ x + p["U_z"] @ h + p["b_z"])
        r = sigmoid(p["W_r"] @ x + p["U_r"] @ h + p["b_r"])
        candidate = anp.tanh(p["W_h"] @ x + r * (p["U_h"] @ h + p["c_h"]) + p["b_h"])
        return z * h + (1 - z) * candidate

    products = contributions.jacobians(system, found.walks, 1.0, 0, {})
    np.testing.assert_allclose(sum(products), jacobian(step)(before), rtol=1e-9, atol=1e-12)
    z, candidate = values["z"][t - 1], values["h_tilde"][t - 1]
    through_z = ((before - candidate) * z * (1 - z))[:, None] * p["U_z"]
    by_name = dict(zip([found.label(w).args[1].name for w in found.walks], products, strict=True))
    np.testing.assert_allclose(by_name["z"], through_z, rtol=1e-9)
    np.testing.assert_allclose(by_name["h"], np.diag(z), rtol=1e-9)


def test_the_paths_of_the_lstm_s_cell_add_up_to_the_jacobian_that_autograd_finds():
    system = catalogue.load("lstm")
    found = highlight(system, "dc[t]/dc[t-1]", None, ())
    (t,), draw, values = at_middle(system, found.walks, "c")
    p, x, output = draw.params, draw.inputs["x"][t - 1], values["o"][t - 2]

    def step(c):
        h = output * anp.tanh(c)
        i, f, g = (p[f"W_{k}"] @ x + p[f"U_{k}"] @ h + p[f"b_{k}"] for k in "ifg")
        return c / (1 + anp.exp(-f)) + anp.tanh(g) / (1 + anp.exp(-i))

    products = contributions.jacobians(system, found.walks, 1.0, 0, {})
    np.testing.assert_allclose(sum(products), jacobian(step)(values["c"][t - 2]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["gru", "rnn"])
def test_the_paths_to_a_loss_are_rows(name):
    system = catalogue.load(name)
    found = highlight(system, "dL[t]/dh[t-1]", None, ())
    products = contributions.jacobians(system, found.walks, 1.0, 0, {})
    assert {p.shape for p in products} == {(1, sampled.UNITS)} and all(np.abs(p).max() > 0 for p in products)


def test_paths_through_a_matrix_are_a_sentence():
    with pytest.raises(DeriveError, match="have no Jacobian matrices to compare: y or S is a matrix"):
        drawn("linear-attention", "paths", "dy[t]/dx[t]")


def at_middle(system, walks, state):
    """The point, the draw and the values that `contributions.jacobians` uses for seed 0."""
    draw = sampled.draw(system, state, 1.0, contributions.STEPS[1], 0)
    return contributions._middle(walks, draw.steps), draw, sampled.compiled(system).forward(draw.params, draw.inputs)


def test_bars_are_sorted_by_what_their_words_say():
    picture = drawn("lstm", "paths", "dc[t]/dc[t-1]")
    *paths, total = [s for s in picture.shapes if isinstance(s, Box)]
    assert [b.width for b in paths] == sorted((b.width for b in paths), reverse=True)
    assert all(bar.tip in picture.alt for bar in paths)
    assert f"has the norm {total.tip.rpartition(': ')[2]}." in picture.alt


# --- writers, the command -------------------------------------------------------------------------------------------------


def test_the_same_question_gives_the_same_bytes_in_every_process():
    command = [sys.executable, "-m", "derive", "plot", "lstm", "graph", "dc[t]/dc[t-1]"]
    runs = [
        subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONHASHSEED": seed}, check=True).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert runs[0].decode().strip() == drawn("lstm", query="dc[t]/dc[t-1]").svg().strip()


def test_a_seed_decides_the_numbers(monkeypatch):
    monkeypatch.setattr(measured, "DRAWS", 2)
    first, again, other = (drawn("rnn", "flow", seed=seed).svg() for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize("name", EVERY)
def test_tikz_is_one_balanced_picture(name):
    fragment = drawn(name, query=main_query(name)).tikz()
    code = "\n".join(line for line in fragment.splitlines() if not line.startswith("%"))
    assert code.count(r"\begin{tikzpicture}") == code.count(r"\end{tikzpicture}") == 1
    assert code.count("{") == code.count("}") and "nan" not in code
    commands = code.splitlines()[1:-1]
    assert all(re.match(r"  \\(definecolor|path|draw|fill|node)\b.*[;}]$", line) for line in commands)


def test_tikz_compiles_where_it_is_installed(tmp_path):
    shown = [drawn("gru", query="dh[t]/dh[t-1]"), drawn("mdlstm"), drawn("lstm", "paths", "dc[t]/dc[t-1]")]
    assert all(picture.tikz() for picture in shown)
    if not has_tikz():
        return
    body = "\n\n".join(picture.tikz() for picture in shown)
    document = r"\documentclass{article}\usepackage{amsmath,amssymb}\usepackage{tikz}\begin{document}" + "\n" + body
    (tmp_path / "p.tex").write_text(document + "\n\\end{document}\n", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "p.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, errors="replace")
    assert done.returncode == 0 and "Overfull" not in done.stdout, done.stdout[-1500:]


def has_tikz() -> bool:
    if not (shutil.which("pdflatex") and shutil.which("kpsewhich")):
        return False
    return bool(subprocess.run(["kpsewhich", "tikz.sty"], capture_output=True, text=True).stdout.strip())


def test_a_system_plots_itself_and_a_notebook_shows_it():
    picture = catalogue.load("gru").plot("graph", "dh[t]/dh[t-1]")
    assert picture._repr_svg_() == drawn("gru", query="dh[t]/dh[t-1]").svg()


@pytest.mark.parametrize("suffix", [".svg", ".tex"])
def test_the_command_writes_a_file(tmp_path, suffix, capsys):
    path = tmp_path / f"graph{suffix}"
    assert cli.main(["plot", "gru", "graph", "dh[t]/dh[t-1]", "--hold", "z", "-o", str(path)]) == 0
    picture = drawn("gru", query="dh[t]/dh[t-1]", hold=("z",))
    assert path.read_text(encoding="utf-8") == (picture.svg() if suffix == ".svg" else picture.tikz())
    assert capsys.readouterr() == ("", "")


def test_the_help_names_every_kind():
    assert all(kind in cli.OPTIONS["kind"][1]["help"] for kind in pictures.KINDS)
    for kind, row in pictures.KINDS.items():
        flags = " ".join(cli.OPTIONS[name][0][0] for name in row.options if name != "query")
        assert f"  {kind:7} {row.summary}\n          {flags}\n" in cli.PICTURES


def test_the_command_prints_svg_without_a_file(capsys):
    assert cli.main(["plot", "rnn", "graph"]) == 0
    assert ElementTree.fromstring(capsys.readouterr().out).tag == f"{SVG}svg"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["grap"], "there is no picture 'grap' (did you mean graph?); the kinds are graph, flow, growth, paths"),
        (["flow", "--hold", "z"], "the picture 'flow' has no option hold; it takes query, seed, where, scales, others"),
        (["paths", "dL/dh[t]"], "'dL/dh[t]' has no paths to compare: ask for a Jacobian such as 'dh[t]/dh[t-1]'"),
    ],
)
def test_a_question_without_a_picture_is_a_sentence_and_leaves_the_file_alone(tmp_path: Path, arguments, said, capsys):
    path = tmp_path / "kept.svg"
    path.write_text("before", encoding="utf-8")
    assert cli.main(["plot", "gru", *arguments, "-o", str(path)]) == 2
    assert capsys.readouterr().err == f"derive: {said}\n"
    assert [(p.name, p.read_text(encoding="utf-8")) for p in tmp_path.iterdir()] == [("kept.svg", "before")]


def test_a_file_that_is_no_picture_is_refused_before_anything_is_drawn(tmp_path, capsys):
    assert cli.main(["plot", "gru", "graph", "-o", str(tmp_path / "g.png")]) == 2
    assert "the suffix .png says no format of a picture; use one of .svg .tex" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# --- growth ---


@pytest.mark.parametrize("distance", [1, 4])
def test_the_true_jacobian_of_growth_is_what_the_initial_values_say(distance):
    """`∂c_T/∂c_t` by another road: the gradients by both values that a step hands on, `c` and `h = o tanh(c)`."""
    system, steps = catalogue.load("lstm"), 9
    draw = sampled.draw(system, "c", 3.0, steps, seed=2)
    found = growth.true_jacobians(system, "c", draw)[distance - 1]
    program, at = system.with_cotangents("c").compile(), steps - distance
    values = program.forward(draw.params, draw.inputs)
    o, c = values["o"][at - 1], values["c"][at - 1]
    tail, rows = {n: a[at:] for n, a in draw.inputs.items()}, []
    for row in np.eye(len(c)):
        cotangent = np.zeros((distance, len(c)))
        cotangent[-1] = row
        gradient = program.vjp(draw.params, tail, {"c": cotangent}, {"c[0]": c, "h[0]": values["h"][at - 1]})
        rows.append(gradient["c[0]"] + gradient["h[0]"] * o * (1 - np.tanh(c) ** 2))
    np.testing.assert_allclose(found, np.array(rows), rtol=1e-9, atol=1e-12, err_msg="seed 2")


@pytest.mark.parametrize("name", ["gru", "lstm-coupled", "lstm"])
def test_the_product_of_the_steps_is_the_jacobian_where_one_state_is_handed_on_and_only_there(name):
    system = catalogue.load(name)
    state = growth.state_of(system, None)
    draw = sampled.draw(system, state, 3.0, 8, seed=5)
    (*_, last), _ = growth.one_step(system, state, draw)
    true = growth.true_jacobians(system, state, draw)
    np.testing.assert_allclose(true[0], last, rtol=1e-9, atol=1e-12, err_msg="over one step they are the same")
    total, _ = growth.one_step(system, state, draw)
    product = np.linalg.multi_dot(total[::-1])
    assert np.allclose(true[len(total) - 1], product) == (name == "gru"), "seed 5"


def test_growth_is_a_picture_with_its_numbers_in_words():
    picture = drawn("lstm", "growth", "dc[t]/dc[t-1]", scales=(6,))
    assert_stands_by_itself(picture)
    assert_within(picture)
    curves = growth.measured(catalogue.load("lstm"), "c", 6, 0, {})
    assert all(f"{curve.plain}: {number(curve.norms[-1])}" in picture.alt for curve in curves)
    assert 30 < curves[0].norms[-1] / curves[1].norms[-1] < 50, "as the document on the cell's Jacobian says"


@pytest.mark.parametrize(
    ("name", "query"), [("rnn", None), ("lstm", "dc[t]/dc[t-2]"), ("lstm", "dh[t]/dc[t-1]"), ("gru", "adjoint")]
)
def test_growth_says_what_it_takes(name, query):
    with pytest.raises(DeriveError, match="growth"):
        drawn(name, "growth", query)
