"""Tokens and trees: what a formula is read as, that none of its tokens is lost, and what is said of one that is off."""

from __future__ import annotations

from pathlib import Path

import pytest

from derive.reader import account
from derive.reader.account import lost, unaccounted
from derive.reader.document import read
from derive.reader.macros import Macro
from derive.reader.parse import Parser, parse
from derive.reader.tokens import tokenize
from derive.reader.tree import Unread

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    path
    for folder in ("tests/corpus", "derivations", "derivations/marked")
    for path in sorted((ROOT / folder).glob("*.md"))
    if path.stem != "README"
]

# --- trees ---

SUMS_AND_CHAINS = {
    "a + b c": "(sum a (chain _ b c))",
    r"a b + c \odot d - e": "(sum (chain _ a b) (chain odot c d) (minus e))",
    "-a b": "(minus (chain _ a b))",
    "+ a": "a",
    r"a \odot -b": "(chain odot a (minus b))",
    "a / b c": "(chain / _ a b c)",
    r"a b \cdot c \times d * e": "(chain _ cdot times * a b c d e)",
    "a = b = c": "(relation = = a b c)",
    r"a \le b < c": "(relation <= < a b c)",
    "a {+} b": "(sum a b)",
}

SCRIPTS = {
    "h_t": "(script h (sub t))",
    "h_{t-1}": "(script h (sub (sum t (minus 1))))",
    "h^T_t": "(script h (sup T) (sub t))",
    "h_t^{(i)}": "(script h (sub t) (sup (group ( i)))",
    "h'": "(script h (prime))",
    r"\sigma''(x)": "(chain _ (script sigma (prime) (prime)) (group ( x))",
    r"\sigma'_t(x)": "(chain _ (script sigma (prime) (sub t)) (group ( x))",
    "h_{t,i}": "(script h (sub (list t i)))",
    "h_{i,j-1}": "(script h (sub (list i (sum j (minus 1)))))",
    r"h^{\prime}": "(script h (sup (prime)))",
    "W^{-1}": "(script W (sup (minus 1)))",
    "x^{*}": "(script x (sup (symbol *)))",
    r"x^{\odot 2}": "(script x (sup (list (symbol odot) 2)))",
    r"h_{\text{in}}": "(script h (sub in))",
    r"h_{\mathrm{f}}": "(script h (sub f))",
    "{}_t": "(script (empty) (sub t))",
    r"\sum_{t=1}^{T} h_t": "(chain _ (script sum (sub (relation = t 1)) (sup T)) (script h (sub t)))",
    r"\prod_{\substack{i<t \\ j<k}} a": (
        "(chain _ (script prod (sub (statements (relation < i t) (relation < j k)))) a)"
    ),
}

WORDS = {
    "3.5 x": "(chain _ 3.5 x)",
    "12": "12",
    r"\mathrm{ReLU}(x)": "(chain _ ReLU (group ( x))",
    r"\text{ReLU}(x)": "(chain _ ReLU (group ( x))",
    r"\text{ReLU of } x": "(words ReLU of ) ; x",
    r"\mathrm{d}h": "(chain _ d h)",
    r"\operatorname{diag}(a)": "(chain _ diag (group ( a))",
    r"\mathbf{h}_t": "(script h (sub t))",
    r"\vec{x}": "x",
    r"\tilde h_t": "(script (accent tilde h) (sub t))",
    r"\overline{x y}": "(accent bar (chain _ x y))",
    r"\overleftarrow{h}_t": "(script (accent bwd h) (sub t))",
    r"\frac{\partial L}{\partial h_t}": "(frac (chain _ partial L) (chain _ partial (script h (sub t))))",
    r"\frac12": "(frac 1 2)",
    r"\tfrac14 x": "(chain _ (frac 1 4) x)",
    r"\sqrt{x}": "(sqrt x)",
    r"\underbrace{a + b}_{\text{sum}}": "(script (brace underbrace (sum a b)) (sub sum))",
    r"\overset{*}{h}": "(over overset h (symbol *))",
    r"\partial h_t / \partial h_k": "(chain _ / _ partial (script h (sub t)) partial (script h (sub k)))",
}

BRACKETS = {
    "f(x)": "(chain _ f (group ( x))",
    "f(x, y)": "(chain _ f (group ( x y))",
    "[h; x]": "(group [; h x)",
    r"[h_{t-1} \mid x_t]": "(group [ (script h (sub (sum t (minus 1)))) (script x (sub t)))",
    "[h | x]": "(group [ h x)",
    r"\{a, b\}": r"(group \{ a b)",
    "|x|": "(group | x)",
    "|x| |y|": "(chain _ (group | x) (group | y))",
    "(|x| + 1)": "(group ( (sum (group | x) 1))",
    r"\|W\|": "(group || W)",
    r"\left\| W h \right\| \le 1": "(relation <= (group || (chain _ W h)) 1)",
    "|x|_2^2": "(script (group | x) (sub 2) (sup 2))",
    r"\left| x \right|": "(group | x)",
    r"\left(a + b\right) c": "(chain _ (group ( (sum a b)) c)",
    r"\bigl( a \bigr)": "(group ( a)",
    r"\left.\frac{a}{b}\right|_{h}": "(script (group .| (frac a b)) (sub h))",
    r"\left[ a, b \right)": "(group [) a b)",
    r"\langle a, b \rangle": "(group langle a b)",
    r"\left< a, b \right>": "(group langle a b)",
    r"\lvert x \rvert": "(group | x)",
}

ENVIRONMENTS = {
    r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}": "(matrix pmatrix (row a b) (row c d))",
    r"\begin{bmatrix} a \\ b \\ \end{bmatrix}": "(matrix bmatrix (row a) (row b))",
    r"\begin{bmatrix} a & \\ & b \end{bmatrix}": "(matrix bmatrix (row a (empty)) (row (empty) b))",
    r"\begin{array}{cc} a & 0 \\ 0 & b \end{array}": "(matrix array (row a 0) (row 0 b))",
    r"\begin{array}{rcl} a &=& b \\ c &=& d \end{array}": "(relation = a b) ; (relation = c d)",
    r"\begin{array}{rl} a &= b \\ &= c \end{array}": "(relation = = a b c)",
    r"\begin{cases} a & x > 0 \\ 0 & \text{otherwise} \end{cases}": (
        "(cases cases (row a (relation > x 0)) (row 0 (words otherwise)))"
    ),
    r"\begin{cases} a, & \text{if } x > 0, \\ 0, & x \le 0. \end{cases}": (
        "(cases cases (row a (statements (words if ) (relation > x 0))) (row 0 (relation <= x 0)))"
    ),
    r"\begin{aligned} a &= b \\ &= c \end{aligned}": "(relation = = a b c)",
    r"\begin{aligned} a &= b \\ c &= d \end{aligned}": "(relation = a b) ; (relation = c d)",
    r"a &= b \\ &\quad + c": "(relation = a (sum b c))",
    r"a = b + \\ c": "(relation = a (sum b c))",
    r"a = b \\[2pt] c = d": "(relation = a b) ; (relation = c d)",
    r"a = b \\ = c": "(relation = = a b c)",
    r"\begin{split} a &= \begin{pmatrix} b \\ c \end{pmatrix} \\ &= d \end{split}": (
        "(relation = = a (matrix pmatrix (row b) (row c)) d)"
    ),
    r"\left\{ \begin{aligned} a &= b \\ c &= d \end{aligned} \right.": (
        r"(group \{; (relation = a b) (relation = c d))"
    ),
}

RELATIONS = {
    "a := b": "(relation := a b)",
    r"a \mathrel{+}= b": "(relation += a b)",
    r"a \mathrel{+=} b": "(relation += a b)",
    r"a \mathrel{:=} b": "(relation := a b)",
    "a {:=} b": "(relation := a b)",
    "a += b": "(relation += a b)",
    r"a \mathrel{-}= b": "(relation -= a b)",
    "a <- b": "(relation := a b)",
    "a < -b": "(relation < a (minus b))",
    r"a \stackrel{def}{=} b": "(relation := a b)",
    r"a \overset{!}{=} b": "(relation := a b)",
    r"a \coloneqq b": "(relation := a b)",
    r"a \gets b": "(relation := a b)",
    r"h_3 \to o_3 \to h_2": "(relation -> -> (script h (sub 3)) (script o (sub 3)) (script h (sub 2)))",
    r"a = b \Rightarrow c = d": "(implication => (relation = a b) (relation = c d))",
    r"a \iff b": "(implication <=> a b)",
}

STATEMENTS = {
    "a, b": "a ; b",
    r"a, \quad b = c": "a ; (relation = b c)",
    r"a = b \text{ for all } t": "(relation = a b) ; (words  for all ) ; t",
    r"\text{where } a = b": "(words where ) ; (relation = a b)",
    "a = b.": "(relation = a b)",
    r"\forall k, \quad a < b": "(chain _ forall k) ; (relation < a b)",
    r"a_1 + \cdots + a_n": "(sum (script a (sub 1)) (symbol dots) (script a (sub n)))",
    r"a \cdots b": "(chain _ _ a (symbol dots) b)",
    r"{\color{red} a} + b": "(sum a b)",
    r"\boxed{a = b}": "(relation = a b)",
    r"a = b \tag{3} \label{x}": "(relation = a b)",
    r"\text{for $t > 1$}": "(words for ) ; (relation > t 1)",
    r"\left.a\right|_{b}": "(script (group .| a) (sub b))",
    "α ⊙ β ≤ 1": "(relation <= (chain odot alpha beta) 1)",
}

TREES = {**SUMS_AND_CHAINS, **SCRIPTS, **WORDS, **BRACKETS, **ENVIRONMENTS, **RELATIONS, **STATEMENTS}


@pytest.mark.parametrize("text", TREES)
def test_a_formula_is_read_as(text):
    assert " ; ".join(map(str, parse(text).children)) == TREES[text]


@pytest.mark.parametrize("text", TREES)
def test_every_token_of_it_is_accounted_for(text):
    assert unaccounted(text, {}) == []


@pytest.mark.parametrize("text", TREES)
def test_spans_lie_in_the_text_and_in_one_another(text):
    tree = parse(text)
    for node in tree.walk():
        assert 0 <= node.span[0] <= node.span[1] <= len(text)
        if node.kind in ("sum", "chain", "group", "frac", "matrix"):
            assert all(node.span[0] <= c.span[0] and c.span[1] <= node.span[1] for c in node.children), node


# --- macros ---

MACROS = {
    macro.name: macro
    for macro in (
        Macro("bh", 0, r"\mathbf{h}"),
        Macro("pd", 2, r"\frac{\partial #1}{\partial #2}"),
        Macro("swap", 2, "#2 #1"),
        Macro("step", 2, "#2_{#1}", default="t"),
        Macro("diag", 0, "diag", operator=True),
        Macro("nothing", 0, ""),
        Macro("first", 2, "#1"),
    )
}
EXPANDED = {
    r"\bh_t": "(script h (sub t))",
    r"\pd{L}{\bh_t}": "(frac (chain _ partial L) (chain _ partial (script h (sub t))))",
    r"\pd L h": "(frac (chain _ partial L) (chain _ partial h))",
    r"\swap{a}{b}": "(chain _ b a)",
    r"\step{h}": "(script h (sub t))",
    r"\step[k]{h}": "(script h (sub k))",
    r"\diag(a)": "(chain _ diag (group ( a))",
    r"a \nothing b": "(chain _ a b)",
    r"\first{a}{b}": "a",
}


@pytest.mark.parametrize("text", EXPANDED)
def test_macros_are_expanded(text):
    assert str(parse(text, MACROS).children[0]) == EXPANDED[text]
    assert unaccounted(text, MACROS) == []


def test_what_comes_out_of_a_macro_has_the_span_of_the_call():
    text = r"a + \pd{L}{\bh}"
    inside = parse(text, MACROS).children[0].children[1]
    assert {node.span for node in inside.walk()} == {(4, len(text))}


# --- every token is accounted for ---


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_no_token_of_a_document_is_lost(path):
    document = read(path)
    for display in document.displays:
        try:
            assert unaccounted(display.text, document.macros) == [], display.text
        except Unread as error:
            assert 0 <= error.span[0] <= error.span[1] <= len(display.text)


def parsed(text):
    tokens = tokenize(text, {})
    parser = Parser(tokens)
    return tokens, parser, parser.display()


FORMULA = r"a + \frac{b}{c} \left( d_t \odot e \right) = f, g"


def test_the_account_sees_a_node_that_a_tree_has_lost():
    tokens, parser, tree = parsed(FORMULA)
    assert lost(tokens, parser, tree) == []
    for node, held in list(parser.held):
        without = [entry for entry in parser.held if entry[0] is not node]
        parser.held, complete = without, parser.held
        assert lost(tokens, parser, tree) == [t for t in tokens.kept if t in held]
        parser.held = complete


def test_the_account_sees_a_tree_that_was_read_and_left_out():
    tokens, parser, tree = parsed("a, b")
    assert [t.value for t in lost(tokens, parser, tree.children[0])] == ["b"]


def test_the_account_sees_a_token_that_was_passed_over():
    tokens, parser, tree = parsed("a, b")
    parser.aside.remove(next(t for t in parser.aside if t.value == ","))
    assert [t.value for t in lost(tokens, parser, tree)] == [","]


def test_the_account_sees_a_token_that_is_in_two_places():
    tokens, parser, tree = parsed("a b")
    parser.aside.append(tokens.kept[0])
    assert [t.value for t in lost(tokens, parser, tree)] == ["a"]


def test_the_account_sees_something_said_that_was_set_aside(monkeypatch):
    name = parse("x").children[0]
    monkeypatch.setattr(Parser, "leaf", lambda self, kind, value=None: name if self.drop() else None)
    assert [t.value for t in unaccounted("a b", {})] == ["a", "b"]


def test_the_account_sees_a_character_that_is_in_no_token(monkeypatch):
    monkeypatch.setattr(account, "tokenize", lambda text, macros: tokenize(text.replace("b", ""), macros))
    assert [(t.value, t.span) for t in unaccounted("a b", {})] == [("b", (2, 3))]


# --- what is said of a formula that is off ---

SLIPS = {
    "(a + b": ("this bracket ( is never closed, found the end of the formula", (0, 1)),
    "a + b)": ("found ), and no ( is open", (5, 6)),
    "[a": ("this bracket [ is never closed, found the end of the formula", (0, 1)),
    "a]": ("found ], and no [ is open", (1, 2)),
    r"\left( a": ("this bracket ( is never closed, found the end of the formula", (5, 6)),
    r"a \right)": ("found ), and no ( is open", (8, 9)),
    r"a \right|": (r"found \right|, and no \left is open", (8, 9)),
    r"\{ a": (r"this bracket \{ is never closed, found the end of the formula", (0, 2)),
    r"a \}": (r"found \}, and no \{ is open", (2, 4)),
    "{a": ("this brace { is never closed", (0, 1)),
    "a}": ("found }, and no { is open", (1, 2)),
    r"\frac{a}": (r"\frac lacks an argument, found the end of the formula", (8, 8)),
    r"\frac": (r"\frac lacks an argument, found the end of the formula", (5, 5)),
    r"\bar": (r"\bar lacks an argument, found the end of the formula", (4, 4)),
    r"\sqrt": (r"\sqrt lacks an argument, found the end of the formula", (5, 5)),
    r"\sqrt[3]{x}": (r"found \sqrt[…]: only square roots are read", (5, 6)),
    "a +": ("found the end of the formula where a name, a number or a bracket should stand", (3, 3)),
    "a =": ("found the end of the formula where a name, a number or a bracket should stand", (3, 3)),
    r"a \odot": ("found the end of the formula where a name, a number or a bracket should stand", (7, 7)),
    r"a \odot \odot b": (r"found \odot where a name, a number or a bracket should stand", (8, 13)),
    "x_": ("a script is missing here, found the end of the formula", (2, 2)),
    "x^": ("a script is missing here, found the end of the formula", (2, 2)),
    "x_{a": ("this brace { is never closed", (2, 3)),
    "|a": ("this | is never closed, found the end of the formula where | should stand", (0, 1)),
    r"\|a": (r"this \| is never closed, found the end of the formula where \| should stand", (0, 2)),
    r"\left| a": (r"this \left| is never closed, found the end of the formula where \right| should stand", (5, 6)),
    r"\begin{foo} a \end{foo}": ("the environment foo is not understood inside a formula", (0, 6)),
    r"\begin{pmatrx} a \end{pmatrx}": (
        "the environment pmatrx is not understood inside a formula (did you mean pmatrix?)",
        (0, 6),
    ),
    r"\begin{pmatrix} a": (r"\begin{pmatrix} is never ended", (0, 6)),
    r"\begin{pmatrix} a \end{bmatrix}": (r"\begin{pmatrix} is never ended", (0, 6)),
    r"a \end{pmatrix}": (r"found \end{pmatrix}, and no \begin{pmatrix} is open", (2, 6)),
    r"a \\ b )": ("found ), and no ( is open", (7, 8)),
    r"\begin{pmatrix} (a & b) \end{pmatrix}": (
        ("this bracket ( is never closed, found the end of the entry", (16, 17))
    ),
    r"\begin": ("the environment ? is not understood inside a formula", (0, 6)),
    r"\text": (r"\text lacks its words in braces", (0, 5)),
    r"\left": (r"\left lacks its bracket, found the end of the formula", (0, 5)),
    r"\left x": (r"\left lacks its bracket, found x", (6, 7)),
    r"a \over b": (r"found \over, which is not read; write \frac{…}{…}", (2, 7)),
    "1.2.3": ("found 1.2.3 where a number should stand; it has at most one point", (0, 5)),
    "1234567890123": ("a number has at most 12 digits, found 13", (0, 13)),
    "a ! b": ("found ! where the formula should go on or end", (2, 3)),
    "a $ b": ("found $ where the formula should go on or end", (2, 3)),
    "a # b": ("found # where the formula should go on or end", (2, 3)),
    r"\langle a": (r"this bracket \langle is never closed, found the end of the formula", (0, 7)),
    r"a \rangle": (r"found \rangle, and no \langle is open", (2, 9)),
    r"(a \\ b": ("this bracket ( is never closed, found the end of the formula", (0, 1)),
    "a & b }": ("found }, and no { is open", (6, 7)),
    r"\\)": ("found ) where a name, a number or a bracket should stand", (2, 3)),
    r"\frac{a +}{b}": ("found } where a name, a number or a bracket should stand", (9, 10)),
    r"\begin{aligned} a = b": (r"\begin{aligned} is never ended", (0, 6)),
    r"\begin{aligned}": (r"\begin{aligned} is never ended", (0, 6)),
    r"a = b \end{aligned}": (r"found \end{aligned}, and no \begin{aligned} is open", (6, 10)),
    r"\begin{foobar*}": ("the environment foobar* is not understood inside a formula", (0, 6)),
}


@pytest.mark.parametrize("text", SLIPS)
def test_a_slip_is_said_with_its_place(text):
    with pytest.raises(Unread) as caught:
        parse(text)
    assert (str(caught.value), caught.value.span) == SLIPS[text]


MACRO_SLIPS = {
    r"\pd{L}": (r"\pd takes 2 arguments, found 1", (0, 3)),
    r"{\pd{L}}": (r"\pd lacks an argument, found }", (7, 8)),
    r"\step[k{h}": (r"this bracket [ behind \step is never closed", (5, 6)),
    r"\pd{L}{h": ("this brace { is never closed", (6, 7)),
    r"a + \pd{}{h}^": ("a script is missing here, found the end of the formula", (13, 13)),
}


@pytest.mark.parametrize("text", MACRO_SLIPS)
def test_a_slip_in_a_call_is_said_with_its_place(text):
    with pytest.raises(Unread) as caught:
        parse(text, MACROS)
    assert (str(caught.value), caught.value.span) == MACRO_SLIPS[text]
