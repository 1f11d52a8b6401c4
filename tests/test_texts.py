"""The five texts in `derivations/`: what every line is read as, its author's mistakes included.

`MEANINGS` says it in the typed form of `corpus_means`, under the heading that a line stands under.  Where a line has
several readings the meaning is the first of them; `READINGS` are further ones that the verdict on the line needs.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from corpus_means import means

from derive.canonical import canonical
from derive.expr import Implies, Words, show_shape
from derive.reader.claims import Claim, DocumentReading
from derive.reader.understand import read
from derive.system import System

FOLDER = Path(__file__).parents[1] / "derivations" / "marked"

NUMBERS = {
    "text-000": range(1, 9),
    "text-001": range(8),
    "text-002": range(1, 20),
    "text-003": range(1, 16),
    "text-004": range(1, 10),
}
"""Document -> the numbers of its formulas: `S000-1` to `S000-8`, and so on."""

UNREAD = "unread"
"""Stands for a claim that is not read; `REASONS` says why."""

REASONS = {
    "S001-7": "a program; the equation that it comes to for n = 3 follows",
}
"""Heading -> why a claim under it is unread.  All others are read."""

ELSEWHERE = ("S002-15",)
"""Headings whose meaning is no typed form, and has a test of its own."""

SKIPPED = ("S001-0", "S001-7")

EXPECTED = {
    "S000-1": ("holds-if", "index"),
    "S000-4": ("holds-if", "missing-path"),
    "S000-5": ("holds-if", "missing-path"),
    "S000-6": ("holds-if", "missing-path"),
    "S000-7": ("holds-if", "missing-path"),
    "S001-5": ("fails", "double-count"),
    "S002-8": ("holds-if", "double-count"),
    "S002-11": ("fails", None),
    "S002-17": ("holds-if", "order"),
    "S002-18": ("fails", "missing-path"),
    "S002-19": ("fails", "symbol"),
    "S003-3": ("holds-if", "ill-typed"),
    "S003-4": ("holds-if", "ill-typed"),
    "S003-6": ("holds-if", "order"),
    "S003-9": ("holds-if", "ill-typed"),
    "S003-10": ("holds-if", "ill-typed"),
    "S003-11": ("fails", "double-count"),
    "S004-3": ("holds-if", "layout"),
}
"""Heading -> the verdict on the formula below it, and the cause.  The other formulas hold, or define something."""

STEP = "prime('sigmoid', W @ h[t] + U @ x[t+1])"
NEXT = "prime('sigmoid', W @ h[t] + M @ h[t-1] + U @ x[t+1])"
AFTER = "prime('sigmoid', W @ h[t+1] + M @ h[t] + U @ x[t+2])"
CORRECTED = f"bar(h[t+2]).T @ diag({AFTER}) @ M + bar(h[t+1]).T @ diag({NEXT}) @ W"
THROUGH = "D(C[t], {0}[t]) @ D({0}[t], h[t-1]) @ D(h[t-1], m[t-1]) @ D(m[t-1], C[t-1])"
FOUR = "diag(f[t]) + " + " + ".join(THROUGH.format(gate) for gate in "gif")
CELL = "diag(o[t-1] * prime('tanh', C[t-1]))"
SHORT = (
    "diag(i[t] * prime('tanh', theta_g[t])) @ W_hg + diag(g[t] * prime('sigmoid', theta_i[t])) @ W_hi"
    " + diag(C[t-1] * prime('sigmoid', theta_f[t])) @ W_hf"
)
STACKED = (
    "block([[D(C[{0}], C[{1}], held=['h[{1}]']), D(C[{0}], h[{1}], held=['C[{1}]'])],"
    " [D(h[{0}], C[{1}], held=['h[{1}]']), D(h[{0}], h[{1}], held=['C[{1}]'])]])"
)
THRESHOLD = ("h[t] == f(W_2 * h[t-1] + W_1 * x[t] + b_1)", "y[t] == W_3 * h[t] + b_2")
GATES = " + ".join(f"J({gate}[3], h[2]).T @ J(C[3], {gate}[3]).T" for gate in "fig")
ACROSS = "D(h[2], C[2]).T @ J(o[3], h[2]).T @ J(h[3], o[3]).T"
USE = "pulled(f[2], W_xf[2], J(C[2], f[2]).T @ ({0}) @ J(y[3], h[3]).T @ grad(L[3], y[3]))"
PATHS = USE.format(f"{ACROSS} + J(C[3], C[2]).T @ D(h[3], C[3]).T + D(h[2], C[2]).T @ ({GATES}) @ D(h[3], C[3]).T")
CONDENSED = USE.format(f"{ACROSS} + J(C[3], C[2]).T @ D(h[3], C[3]).T").replace("J(", "D(")
TOTAL, DIRECT = PATHS.replace("J(", "D("), PATHS.replace("J(", "Dp(")
OUTER = "D(y_hat[j], h[j]).T @ grad(L[j], y_hat[j])"
OUTPUTS = "Sum(D(o[t], c).T @ bar(o[t]), (t, 1, T))"
STATES = "Sum(D(h[t], b[t]).T @ bar(h[t]), (t, 1, T))"
BACK = "D(h[t+1], h[t]).T @ bar(h[t+1]) + D(o[t], h[t]).T @ bar(o[t])"
SQUARES = "Sum(diag(1 - h[t]**2) @ bar(h[t]), (t, 1, T))"
ENTRIES = "Sum(entry(bar(h[t]), i) * grad(entry(h[t], i), W[t]), (t, 1, T), (i, 1, n))"

MEANINGS: dict[str, tuple[str, ...]] = {
    # --- text-000 ---
    "The network": (
        "z[t] == sigmoid(W_zx @ x[t] + W_zh @ h[t-1])",
        "r[t] == sigmoid(W_rx @ x[t] + W_rh @ h[t-1])",
        "h_tilde[t] == tanh(W_hx @ x[t] + r[t] * (W_hh @ h[t-1]))",
        "h[t] == z[t] * h[t-1] + (1 - z[t]) * h_tilde[t]",
        "y_hat[t] == softmax(W_yh @ h[t])",
    ),
    "S000-1": (
        f"bar(W_hh) == Sum(pulled(h[k], W_hh, Prod(D(h[m], h[m-1]), (m, k+1, j)).T @ {OUTER}), (k, 1, j), (j, 0, T-1))",
        f"bar(W_hh) == Sum(pulled(h[k], W_hh, Prod(D(h[m], h[m-1]), (m, k+1, j)).T @ {OUTER}), (k, 1, j), (j, 1, T))",
    ),
    "S000-2": ("h[t] == z[t] * h[t-1] + (1 - z[t]) * h_tilde[t]",),
    "S000-3": ("h_tilde[t] == tanh(W_hx @ x[t] + r[t] * (W_hh @ h[t-1]))",),
    "S000-4": (
        "D(h[m], h[m-1]) == diag(z[t]) + D((1 - z[t]) * h_tilde[m], h[m-1])",
        "D(h[m], h[m-1]) == diag(z[m]) + diag(h[m-1]) @ D(z[m], h[m-1]) + D((1 - z[m]) * h_tilde[m], h[m-1])",
    ),
    "S000-5": ("D((1 - z[t]) * h_tilde[m], h[m-1]) == D((1 - z[t]) * h_tilde[m], h_tilde[m]) @ D(h_tilde[m], h[m-1])",),
    "S000-6": (
        "D((1 - z[t]) * h_tilde[m], h_tilde[m]) @ D(h_tilde[m], h[m-1]) == diag(1 - z[t]) @ D(h_tilde[m], h[m-1])",
        "D((1 - z[m]) * h_tilde[m], h[m-1])"
        " == diag(1 - z[m]) @ D(h_tilde[m], h[m-1]) - diag(h_tilde[m]) @ D(z[m], h[m-1])",
    ),
    "S000-7": (
        "D(h[m], h[m-1]) == diag(z[t]) + diag(1 - z[t]) @ D(h_tilde[m], h[m-1])",
        "D(h[m], h[m-1]) == diag(z[m]) + diag((h[m-1] - h_tilde[m]) * z[m] * (1 - z[m])) @ W_zh"
        " + diag((1 - z[m]) * (1 - h_tilde[m]**2)) @ (diag(r[m]) @ W_hh"
        " + diag((W_hh @ h[m-1]) * r[m] * (1 - r[m])) @ W_rh)",
    ),
    "S000-8": ("implies(z[t] == 1, D(h[m], h[m-1]) == I(n))",),
    # --- text-001 ---
    "S001-0": ("h[t] == relu(h[t-1])", "h[t] == relu(W @ h[t-1])"),
    "The linear recurrence": ("h[t] == W_h * h[t-1] + W_x * x[t]",),
    "S001-1": ("D(h[3], h[2]) == W_h", "D(h[3], h[3]) == 1"),
    "S001-2": ("D(h[1], W_h) == h[0]",),
    "S001-3": ("D(h[2], W_h) == 2 * W_h * h[0] + W_x * x[1]",),
    "S001-4": ("D(h[3], W_h) == 3 * W_h**2 * h[0] + 2 * W_h * W_x * x[1] + W_x * x[2]",),
    "S001-5": (
        "Sum(D(h[3], h[i]) * D(h[i], W_h), (i, 1, 3)) == W_h**2 * h[0]"
        " + 2 * W_h**2 * h[0] + W_h * W_x * x[1] + 3 * W_h**2 * h[0] + 2 * W_h * W_x * x[1] + W_x * x[2]",
        "Sum(D(h[3], h[i]) * Dp(h[i], W_h), (i, 1, 3)) == W_h**2 * h[0] + W_h * h[1] + h[2]",
    ),
    "S001-6": ("h[i, j] == W_x @ x[i, j] + W_h @ h[i-1, j] + W_h @ h[i, j-1]",),
    # --- text-002 ---
    "The scalar network": (
        "S[t] == tanh(U * X[t] + W * S[t-1] + b_1)",
        "O[t] == V * S[t] + b_2",
        "L[t] == 1/2 * (Y[t] - O[t])**2",
        "theta[t] == U * X[t] + W * S[t-1] + b_1",
    ),
    "S002-1": (
        "tanh(x) == (exp(x) - exp(-x)) / (exp(x) + exp(-x))",
        "cosh(x) == (exp(x) + exp(-x)) / 2",
        "sinh(x) == (exp(x) - exp(-x)) / 2",
        "prime('tanh', x) == 1 - tanh(x)**2",
    ),
    "S002-2": (
        "S[t] == tanh(U * X[t] + W * S[t-1] + b_1)",
        "O[t] == V * S[t] + b_2",
        "L[3] == 1/2 * (Y[3] - O[3])**2",
    ),
    "S002-3": ("grad(L[3], O[3]) * D(O[3], S[3]) == (O[3] - Y[3]) * V", "grad(L[3], V) == (O[3] - Y[3]) * S[3]"),
    "S002-4": (
        "D(S[3], U) == D(tanh(theta[3]), theta[3]) * X[3]"
        " + D(tanh(theta[3]), theta[3]) * D(tanh(theta[2]), theta[2]) * W * X[2]"
        " + D(tanh(theta[3]), theta[3]) * D(tanh(theta[2]), theta[2]) * D(tanh(theta[1]), theta[1]) * W**2 * X[1]",
    ),
    "S002-5": (
        "D(S[3], W) == D(tanh(theta[3]), theta[3]) * S[2]"
        " + D(tanh(theta[3]), theta[3]) * D(tanh(theta[2]), theta[2]) * S[1] * W"
        " + D(tanh(theta[3]), theta[3]) * D(tanh(theta[2]), theta[2]) * D(tanh(theta[1]), theta[1]) * S[0] * W**2",
    ),
    "S002-6": (
        "grad(L[3], U) == Sum(grad(L[3], O[3]) * D(O[3], S[3])"
        " * Prod(D(tanh(theta[j]), theta[j]), (j, k, 3)) * X[k] * mpow(W, 3-k), (k, 1, 3))",
    ),
    "S002-7": (
        "D(S[20], U) == Sum(prime('tanh', theta[20]) * Prod(prime('tanh', theta[j]) * W, (j, k, 19)) * X[k], (k, 1, 20))",
    ),
    "S002-8": (
        "grad(L[t], U) == Sum(grad(L[t], O[t]) * D(O[t], S[t])"
        " * Prod(D(S[j], S[j-1]), (j, k+1, t)) * D(S[k], U), (k, 0, t))",
        "grad(L[t], U) == Sum(grad(L[t], O[t]) * D(O[t], S[t])"
        " * Prod(D(S[j], S[j-1]), (j, k+1, t)) * Dp(S[k], U), (k, 1, t))",
    ),
    "S002-9": ("D(S[j], S[j-1]) == prime('tanh', theta[j]) * W == (1 - tanh(theta[j])**2) * W",),
    "The LSTM": (
        "f[t] == sigmoid(W_xf @ X[t] + W_hf @ h[t-1] + b_f)",
        "i[t] == sigmoid(W_xi @ X[t] + W_hi @ h[t-1] + b_i)",
        "o[t] == sigmoid(W_xo @ X[t] + W_ho @ h[t-1] + b_o)",
        "g[t] == tanh(W_xg @ X[t] + W_hg @ h[t-1] + b_g)",
        "C[t] == f[t] * C[t-1] + i[t] * g[t]",
        "m[t] == tanh(C[t])",
        "h[t] == o[t] * m[t]",
        "y[t] == W_hy @ h[t] + b_y",
        "L[t] == 1/2 * norm(y[t] - d[t])**2",
    ),
    "S002-12": ("grad(L[3], W_xf) == grad(L[3], W_xf[3]) + grad(L[3], W_xf[2]) + grad(L[3], W_xf[1])",),
    "S002-13": (f"grad(L[3], W_xf[2]) == {TOTAL}",),
    "S002-14": (f"{TOTAL} == {CONDENSED}",),
    "S002-16": (f"D(C[t], C[t-1]) == {FOUR}",),
    "S002-17": (
        f"{FOUR} == diag(f[t]) + diag(i[t] * prime('tanh', theta) * o[t-1] * prime('tanh', C[t-1])) @ W_hg"
        " + diag(g[t] * prime('sigmoid', theta) * o[t-1] * prime('tanh', C[t-1])) @ W_hi"
        " + diag(C[t-1] * prime('sigmoid', theta) * o[t-1] * prime('tanh', C[t-1])) @ W_hf",
        "theta_f[t] == W_xf @ X[t] + W_hf @ h[t-1] + b_f",
        "theta_i[t] == W_xi @ X[t] + W_hi @ h[t-1] + b_i",
        "theta_o[t] == W_xo @ X[t] + W_ho @ h[t-1] + b_o",
        "theta_g[t] == W_xg @ X[t] + W_hg @ h[t-1] + b_g",
        f"D(C[t], C[t-1]) == diag(f[t]) + diag(i[t] * prime('tanh', theta_g[t])) @ W_hg @ {CELL}"
        f" + diag(g[t] * prime('sigmoid', theta_i[t])) @ W_hi @ {CELL}"
        f" + diag(C[t-1] * prime('sigmoid', theta_f[t])) @ W_hf @ {CELL}",
    ),
    "S002-18": (
        "approx(Prod(D(C[t], C[t-1]), (t, 1, T)), I(n))",
        f"{STACKED.format('T', 't')} == Prod({STACKED.format('k', 'k-1')}, (k, t+1, T))",
        f"A[t] == {SHORT}",
        f"{STACKED.format('t', 't-1')} == block([[diag(f[t]), A[t]], [diag(o[t] * prime('tanh', C[t]) * f[t]),"
        " diag(m[t] * prime('sigmoid', theta_o[t])) @ W_ho + diag(o[t] * prime('tanh', C[t])) @ A[t]]])",
    ),
    "Back to the scalar network": (
        "S[t] == tanh(U * X[t] + W * S[t-1] + b_1)",
        "O[t] == V * S[t] + b_2",
        "L[t] == 1/2 * (Y[t] - O[t])**2",
    ),
    # --- text-003 ---
    "An alternating sum": ("h[t] == -h[t-1] + x[t]", "y == sigmoid(10 * h[T])"),
    "S003-1": ("implies(h[t] == -h[t-1] + x[t], h[t] == (-1)**t * h[0] + Sum((-1)**(t-i) * x[i], (i, 1, t)))",),
    "S003-2": ("y == sigmoid(10 * (h[0] + Sum((-1)**(T-i) * x[i], (i, 1, T))))",),
    "A sigmoid network": ("h[t] == sigmoid(W @ h[t-1] + U @ x[t])",),
    "S003-3": (
        "bar(h[t]).T == bar(h[t+1]).T @ D(h[t+1], h[t])",
        f"D(h[t+1], h[t]) == diag({STEP}) @ W",
    ),
    "S003-4": (
        "bar(h[t]).T == bar(h[t+1]).T"
        " @ diag(sigmoid(W @ h[t] + U @ x[t+1]) * (1 - sigmoid(W @ h[t] + U @ x[t+1]))) @ W",
    ),
    "S003-5": (f"D(h[t+1], h[t]) == diag({STEP}) @ W",),
    "S003-6": (
        "bar(h[t]).T == bar(h[T]).T @ Prod(D(h[k+1], h[k]), (k, t, T-1))"
        " == bar(h[T]).T @ Prod(diag(prime('sigmoid', W @ h[k] + U @ x[k+1])) @ W, (k, t, T-1))",
    ),
    "S003-8": (
        "implies(norm(bar(h[t]).T) <= norm(bar(h[T]).T) * Prod(norm(W) * 1/4, (k, t, T-1)),"
        " norm(bar(h[t]).T) <= norm(bar(h[T]).T) * mpow(norm(W), T-t) * (1/4)**(T-t))",
    ),
    "A skip connection": ("h[t] == sigmoid(W @ h[t-1] + M @ h[t-2] + U @ x[t])",),
    "S003-9": (
        "h[t+2] == sigmoid(W @ h[t+1] + M @ h[t] + U @ x[t+2])",
        f"D(h[t+2], h[t]) == diag({AFTER}) @ M + diag({AFTER}) @ W @ D(h[t+1], h[t])",
    ),
    "S003-10": (f"D(h[t+1], h[t]) == diag({NEXT}) @ W",),
    "S003-11": (
        f"bar(h[t]).T == bar(h[t+2]).T @ (diag({AFTER}) @ M + diag({AFTER}) @ W @ diag({NEXT}) @ W)"
        f" + bar(h[t+1]).T @ diag({NEXT}) @ W",
        f"bar(h[t]).T == {CORRECTED}",
        f"bar(h[t]).T == {CORRECTED} + grad(L[t], h[t]).T",
    ),
    "S003-13": (
        *(THRESHOLD * 2),
        "W_1 == W_2 == 1",
        "b_1 == -3/2",
        "W_3 == 1",
        "b_2 == 0",
        "h[0] == 1",
        "f(z) == 1 - step(1/2 - z)",
        "y[t] == Prod(x[i], (i, 1, t))",
    ),
    "S003-14": (
        "h[t] == phi(W @ x[t] + b)",
        "y[t] == phi(v.T @ h[t] + r * y[t-1] + c)",
        "phi(z) == step(z)",
        "h[t] == phi(W @ x[t] + b)",
        "W == block([[-1, -1], [1, 1]])",
        "b == cat(1, -1)",
        "implies(entry(h[t], 1) == 1, entry(x[t], 1) == entry(x[t], 2) == 0)",
        "implies(entry(x[t], 1) == entry(x[t], 2) == 0, entry(h[t], 1) == 1)",
        "implies(entry(h[t], 2) == 1, entry(x[t], 1) == entry(x[t], 2) == 1)",
        "implies(entry(x[t], 1) == entry(x[t], 2) == 1, entry(h[t], 2) == 1)",
    ),
    "S003-15": (
        "c == -1",
        "c_0 == 0",
        "y[0] == 1",
        "y[t] == cases((phi(v.T @ h[t] + r * y[t-1] + c), t > 1), (phi(v.T @ h[t] + c_0), t == 1))",
        "v == cat(1, 1)",
        "r == 1",
        "y[t] == Prod(entry(x[i], 1) * entry(x[i], 2) + (1 - entry(x[i], 1)) * (1 - entry(x[i], 2)), (i, 1, t))",
    ),
    # --- text-004 ---
    "S004-1": (
        "a[t] == b + W @ h[t-1] + U @ x[t]",
        "h[t] == tanh(a[t])",
        "o[t] == c + V @ h[t]",
        "y_hat[t] == softmax(o[t])",
    ),
    "S004-2": ("L == Sum(L[t], (t, 1, T))", "bar(o[t]) == y_hat[t] - y[t]"),
    "S004-3": ("f == A @ x[t]", "D(f, x[t]).T == A.T"),
    "S004-4": (f"bar(c) == {OUTPUTS} == Sum(bar(o[t]), (t, 1, T))",),
    "S004-5": (f"bar(h[t]) == {BACK} == W.T @ H[t+1] @ bar(h[t+1]) + V.T @ bar(o[t])",),
    "S004-6": ("H[t+1] == D(h[t+1], a[t+1]).T == diag(1 - h[t+1]**2)",),
    "S004-7": ("D(tanh(x[t]), x[t]) == diag(1 - tanh(x[t])**2)",),
    "S004-8": (f"bar(b) == {STATES} == {SQUARES} == Sum(H[t] @ bar(h[t]), (t, 1, T))",),
    "S004-9": (
        f"bar(W) == {ENTRIES} == Sum(H[t] @ bar(h[t]) @ h[t-1].T, (t, 1, T))",
        "bar(U) == Sum(H[t] @ bar(h[t]) @ x[t].T, (t, 1, T))",
        "bar(V) == Sum(bar(o[t]) @ h[t].T, (t, 1, T))",
    ),
}
"""Heading -> the meaning of every claim under it, in their order; a chain is one line."""

PRINTED = {
    "S003-7": ("σ'(z) = σ(z) (1 - σ(z))", "max_u σ'(u) = ¼", "¼ = ¼"),
    "S002-11": ("W ↑ ⇒ gradient explodes", "W ↓ ⇒ gradient vanishes"),
    "S002-10": ("tanh(u) ∈ [-1, 1]", "tanh'(u) ∈ [0, 1]"),
    "S002-19": (
        r'"in the RNN \partial S_t/\partial S_{t-1} is controlled by the single parameter U "',
        "∂S_t/∂S_{t-1} = tanh'(U X_t + W S_{t-1} + b_1) W",
    ),
    "S003-12": ("clip-by-norm keeps the direction of the gradient, clip-by-value does not",),
}
"""Heading -> its claims as they are printed, where the typed form has no word for them; nothing where one is unread."""

SETTINGS = [
    ("S003-13", "W_1 = W_2"),
    ("S003-13", "W_2 = 1"),
    ("S003-13", "b_1 = -(3/2)"),
    ("S003-13", "W_3 = 1"),
    ("S003-13", "b_2 = 0"),
    ("S003-13", "h_0 = 1"),
    ("S003-13", "f(z) = 1 - 1[½ - z > 0]"),
    ("S003-14", "φ(z) = 1[z > 0]"),
    ("S003-14", "W = [-1, -1; 1, 1]"),
    ("S003-14", "b = [1; -1]"),
    ("S003-15", "c = -1"),
    ("S003-15", "c_0 = 0"),
    ("S003-15", "y_0 = 1"),
    ("S003-15", "v = [1; 1]"),
    ("S003-15", "r = 1"),
]
"""The lines that choose a parameter, a first state or a function: they define, and claim nothing."""

READINGS = {
    "S000-1": f"bar(W_hh) == Sum(pulled(h[k], W_hh, Prod(D(h[m], h[m-1]), (m, k+1, j)).T @ {OUTER}, total=True),"
    " (k, 1, j), (j, 0, T-1))",
    "S000-4": "D(h[m], h[m-1]) == diag(z[m]) + D((1 - z[m]) * h_tilde[m], h[m-1])",
    "S000-7": "D(h[m], h[m-1]) == diag(z[m]) + diag(1 - z[m]) @ D(h_tilde[m], h[m-1])",
    "S001-5": "Sum(D(h[3], h[i]) * Dp(h[i], W_h), (i, 1, 3)) == 6 * W_h**2 * h[0] + 3 * W_h * W_x * x[1] + W_x * x[2]",
    "S002-8": "grad(L[t], U) == Sum(grad(L[t], O[t]) * D(O[t], S[t])"
    " * Prod(D(S[j], S[j-1]), (j, k+1, t)) * Dp(S[k], U), (k, 0, t))",
    "S002-13": f"grad(L[3], W_xf[2]) == {DIRECT}",
    "S003-6": "bar(h[t]).T == bar(h[T]).T @ Prod(D(h[k+1], h[k]), (k, t, T-1), ascending=True)",
}
"""Heading -> another reading of the first claim under it: the one that the verdict in `EXPECTED` rests on."""

SHAPES: dict[str, tuple[str, ...]] = {
    "text-000": (
        "x: m, W_zx: n x m, W_zh: n x n, W_rx: n x m, W_rh: n x n, W_hx: n x m, W_hh: n x n, W_yh: q x n,"
        " z: n, r: n, h_tilde: n, h: n, y_hat: q, L: scalar",
    ),
    "text-001": (
        "x: scalar, W_h: scalar, W_x: scalar, h: scalar, L: scalar",
        "x: m, W_x: n x m, W_h: n x n, h: n, L: scalar",
        "X: m, W_X: n x m, W_h1: n x n, W_h2: n x n, W_h3: n x n, h: n, L: scalar",
    ),
    "text-002": (
        "X: scalar, Y: scalar, U: scalar, W: scalar, b_1: scalar, V: scalar, b_2: scalar,"
        " S: scalar, O: scalar, L: scalar",
        "X: m, d: q, W_xf: n x m, W_hf: n x n, b_f: n, W_xi: n x m, W_hi: n x n, b_i: n, W_xo: n x m, W_ho: n x n,"
        " b_o: n, W_xg: n x m, W_hg: n x n, b_g: n, W_hy: q x n, b_y: q,"
        " f: n, i: n, o: n, g: n, C: n, m: n, h: n, y: q, L: scalar",
        "X: scalar, Y: scalar, U: scalar, W: scalar, b_1: scalar, V: scalar, b_2: scalar,"
        " S: scalar, O: scalar, L: scalar",
    ),
    "text-003": (
        "x: scalar, h: scalar, L: scalar",
        "x: m, W: n x n, U: n x m, h: n, L: scalar",
        "x: m, W: n x n, M: n x n, U: n x m, h: n, L: scalar",
        "x: scalar, W_1: scalar, W_2: scalar, b_1: scalar, W_3: scalar, b_2: scalar, h: scalar, y: scalar, L: scalar",
        "x: 2, W: 2 x 2, b: 2, v: 2, r: scalar, c: scalar, h: 2, y: scalar, L: scalar",
    ),
    "text-004": ("x: m, y: q, b: n, W: n x n, U: n x m, c: q, V: q x n, a: n, h: n, o: q, y_hat: q, L: scalar",),
}
"""Document -> the shapes of what each of its systems speaks of."""


# --- the documents ------------------------------------------------------------------------------------------------------


@cache
def reading(document: str) -> DocumentReading:
    return read(FOLDER / f"{document}.md")


@cache
def headings(document: str) -> list[tuple[int, str]]:
    """`(line, heading)` of a document; of `S000-1 The gradient …` the number alone."""
    lines = (FOLDER / f"{document}.md").read_text(encoding="utf-8").splitlines()
    titles = ((n, line.lstrip("# ")) for n, line in enumerate(lines, 1) if line.startswith("#"))
    return [(n, number[0] if (number := re.match(r"S\d+-\d+", title)) else title) for n, title in titles]


def under(document: str) -> dict[str, list[Claim]]:
    """Heading -> the claims below it."""
    found: dict[str, list[Claim]] = {title: [] for _, title in headings(document)}
    for claim in reading(document).claims:
        title = [title for line, title in headings(document) if line < claim.place.line][-1]
        found[title].append(claim)
    return found


def document_of(heading: str) -> str:
    return next(document for document in NUMBERS if heading in [title for _, title in headings(document)])


def evaluated(typed: str, claim: Claim) -> list[Any]:
    """A typed line, its names being what they are at a claim."""
    if typed == UNREAD:
        return [UNREAD]
    assert claim.scope is not None
    names = {**claim.scope.later, **claim.scope.names}
    return means(typed, {name: (meaning.shape, meaning.indexed) for name, meaning in names.items()})


def is_read_as(claim: Claim, wanted: Any) -> bool:
    if claim.unread or wanted == UNREAD:
        return claim.unread is not None and wanted == UNREAD
    return canonical(without_words(claim.formula)) == canonical(wanted)


def without_words(formula: Any) -> Any:
    """Of a formula that follows from words, the formula."""
    return formula.args[1] if isinstance(formula, Implies) and isinstance(formula.args[0], Words) else formula


def shapes(system: System) -> dict[str, str]:
    """Name -> shape, of everything but the cotangents of a loss that is left open."""
    variables = (variable for variable in system.variables.values() if not variable.name.endswith("_ct"))
    return {variable.name: show_shape(variable.shape) for variable in variables}


def described(claim: Claim, wanted: Any) -> str:
    rows = [f"{claim.place}: {claim.latex}", f"  means    {wanted}"]
    rows += [f"  read as  {one.formula}" for one in claim.readings]
    return "\n".join([*rows, f"  unread   {claim.unread}"] if claim.unread else rows)


@pytest.mark.parametrize("document", NUMBERS)
def test_every_formula_has_its_heading_and_a_display(document):
    numbers = [f"S{document[-3:]}-{n}" for n in NUMBERS[document]]
    assert [title for _, title in headings(document) if title.startswith("S0")] == numbers
    assert [number for number in numbers if not under(document)[number]] == []


@pytest.mark.parametrize("document", NUMBERS)
def test_every_claim_is_read(document):
    unread = [(title, claim) for title, claims in under(document).items() for claim in claims if claim.unread]
    wrong = [
        f"{claim.unread_place}: {claim.unread}\n  {claim.latex}" for title, claim in unread if title not in REASONS
    ]
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize("heading", REASONS)
def test_what_is_said_to_be_unread_is(heading):
    claims = under(document_of(heading))[heading]
    assert any(claim.unread for claim in claims), f"take {heading} out of REASONS"


def test_the_readme_names_what_is_unread():
    table = (FOLDER / "README.md").read_text(encoding="utf-8").partition("## What is unread")[2].split("\n\n")[2]
    assert sorted(re.findall(r"S\d+-\d+", table)) == sorted(REASONS)


@pytest.mark.parametrize("heading", MEANINGS)
def test_every_line_is_read_as_it_stands(heading):
    claims = under(document_of(heading))[heading]
    assert claims
    wanted = [one for typed in MEANINGS[heading] for one in evaluated(typed, claims[-1])]
    assert len(wanted) == len(claims), [claim.latex for claim in claims]
    wrong = [described(claim, one) for claim, one in zip(claims, wanted, strict=True) if not is_read_as(claim, one)]
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize("document", NUMBERS)
def test_every_heading_has_its_meaning(document):
    without = {title for title, claims in under(document).items() if claims} - {
        *MEANINGS,
        *PRINTED,
        *REASONS,
        *ELSEWHERE,
    }
    assert not without


@pytest.mark.parametrize("heading", PRINTED)
def test_what_is_printed(heading):
    assert tuple(claim.read_as() for claim in under(document_of(heading))[heading]) == PRINTED[heading]


@pytest.mark.parametrize("heading", READINGS)
def test_the_verdict_has_its_reading(heading):
    claim = under(document_of(heading))[heading][0]
    (wanted,) = evaluated(READINGS[heading], claim)
    assert canonical(wanted) in [canonical(one.formula) for one in claim.readings], described(claim, wanted)


def test_all_paths_of_the_list():
    """The product of two lists: every path of the one, followed by every path of the other."""
    (claim,) = under("text-002")["S002-15"]
    first, second = ((f"o_{t} → h_{t - 1}", f"C_{t} → C_{t - 1}", *gates(t)) for t in (3, 2))
    found = [f"{a} → {b} → C_1 → f_1 → W_{{xf,1}}" for a in first for b in second]
    wanted = [re.sub(r"(C_\d) → \1", r"\1", path) for path in found]
    assert claim.read_as().strip("()").split(", ") == wanted


def gates(t: int) -> list[str]:
    return [f"C_{t} → {gate}_{t} → h_{t - 1}" for gate in "fig"]


def test_a_premise_in_words_is_kept():
    (claim,) = under("text-003")["S003-2"]
    assert list(map(str, claim.where)) == ["T even"]


def test_what_sets_a_value_is_nothing_to_check():
    found = [(title, str(c.formula)) for title, claims in under("text-003").items() for c in claims if c.kind == "sets"]
    assert found == SETTINGS


@pytest.mark.parametrize("document", NUMBERS)
def test_every_system_has_its_shapes(document):
    found = [shapes(system) for system in reading(document).systems]
    wanted = [dict(one.split(": ") for one in line.split(", ")) for line in SHAPES[document]]
    assert found == wanted


@pytest.mark.parametrize("document", NUMBERS)
def test_every_mistake_is_expected(document):
    found = {title: claim.expect for title, claims in under(document).items() for claim in claims if claim.expect}
    assert found == {title: expect for title, expect in EXPECTED.items() if title[1:4] == document[-3:]}


@pytest.mark.parametrize("document", NUMBERS)
def test_what_is_skipped(document):
    found = {title for title, claims in under(document).items() for claim in claims if claim.skip}
    assert found == {title for title in SKIPPED if title[1:4] == document[-3:]}
