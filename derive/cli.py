"""The program `derive`.  Results on stdout, all else on stderr.

Exit codes: 0 done, 1 a check failed, 2 unusable input (one sentence on stderr, never a traceback), 130 interrupted.
Nothing heavy is imported before a command runs, so that `derive --help` and `derive list` answer at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

import derive
from derive.errors import DeriveError
from derive.processes import few_collections

if TYPE_CHECKING:
    from derive.derivation import Derivation
    from derive.notation import Notation
    from derive.pictures import Picture
    from derive.system import System

DONE, FAILED, UNUSABLE, INTERRUPTED = 0, 1, 2, 130

SYSTEM = "a catalogue name (see `derive list`), FILE.py:NAME, or a document (FILE.tex, FILE.md, FILE.ipynb, -)"
DOCUMENT = "a document (.md .tex .ipynb, - for stdin), or a folder: its documents with a `derive:` comment"
REPORTS = ("text", "json", "junit", "sarif", "github", "html")
QUERIES = """\
queries:
  forward | table | adjoint | tangent      the equations; the local partials; the adjoint or tangent system
  forcing                                  what teacher forcing takes from the adjoint
  dh[t]/dh[t-1]   d+h[t]/dh[t-1]           the total Jacobian, path by path; the immediate partial
  dL/dU_z   dL/dh[t]   dL[t]/dh[k]         a gradient
  'd(c[t],h[t])/d(c[t-1],h[t-1])'          the block Jacobian of all that a step hands to the next
  'paths c[t] <- c[t-1]'                   the paths and how many there are
  'paths h[t] <- h[k]'                     how many there are for any distance; 'paths L[T] <- W_f' for any length
  'closed h[t]'                            a linear recurrence solved, with its induction
  'bound dL/dh[t]'   'bound dh[t]/dh[k]'   a norm bound, with the ingredients of its proof

examples:
  derive solve gru 'dh[t]/dh[t-1]' --hold z
  derive solve lstm adjoint -o lstm.html
"""

PROOFS = """\
A network of threshold units (step, or an activation such as f(z) = [z >= 1/2]) reads strings of bits.  It is compared with
a specification on every string of every length, by the states that the two can reach.

examples:
  derive prove 'h[t] = step(x[t] + h[t-1] - 3/2); h[0] = 1' --spec 'y[t] = y[t-1] * x[t]; y[0] = 1'
  derive prove NET.py:net --spec SPEC.py:spec --set 'W_1=1, b_1=-3/2, h[0]=1'
  derive prove NET.py:net --spec SPEC.py:spec --range b_1      for which values of b_1 it is true, exactly
  derive prove NET.py:net --spec SPEC.py:spec --search all     weights for which it is true
  derive prove 2 --spec 'y[t] = abs(y[t-1] - x[t])' --search all     of a network with 2 hidden units: parity
  derive prove notes.md                                        every claim of a document about such networks

exit code: 0 proved (or found), 1 refuted (or there are no such weights), 2 unusable input
"""

PICTURES = """\
kinds, and the options that they take:
  graph   the unrolled dependency graph, the paths of QUERY highlighted
          --unroll --hold --labels
  flow    the gradient's norm against the distance from the loss, for several scales of the weights
          --seed --where --scales --with
  growth  a Jacobian QUERY of one step, multiplied over many steps, against the Jacobian over all of them
          --seed --where --scales
  paths   what each path of a Jacobian QUERY contributes: the norm of its product
          --hold --seed --where --scales

examples:
  derive plot gru graph 'dh[t]/dh[t-1]' -o gru.svg
  derive plot rnn flow --with lstm,gru -o flow.svg
"""

EPILOGS = {"solve": QUERIES, "plot": PICTURES, "prove": PROOFS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
        return code
    except DeriveError as error:
        print(f"derive: {error}", file=sys.stderr)
        return UNUSABLE
    except BrokenPipeError:
        # Whoever read our output has enough; the interpreter must not complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(arguments: Sequence[str]) -> int:
    parser, commands = _parsers()
    if arguments and arguments[0] in commands:
        # Intermixed, so that queries may follow options: argparse offers that for the parser of one command only.
        options = commands[arguments[0]].parse_intermixed_args(arguments[1:])
        with few_collections():
            return COMMANDS[arguments[0]][0](options)
    parser.parse_args(arguments)
    parser.print_help()
    return DONE


# --- arguments --------------------------------------------------------------------------------------------------------


def _parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser of the program and those of its commands."""
    parser = argparse.ArgumentParser(
        prog="derive", description="Worked, checked derivations of backpropagation through time."
    )
    parser.add_argument("--version", action="version", version=f"derive {derive.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, (_, summary, options) in COMMANDS.items():
        raw = argparse.RawDescriptionHelpFormatter
        more = EPILOGS.get(name)
        sub = commands.add_parser(name, help=summary, description=summary, epilog=more, formatter_class=raw)
        for option in options:
            flags, settings = OPTIONS[option]
            sub.add_argument(*flags, **settings)
    return parser, dict(commands.choices)


def _names(value: str) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in value.split(","))))


def _values(value: str) -> dict[str, int]:
    pairs = [part.partition("=") for part in _names(value)]
    if not all(name and number.strip().lstrip("-").isdecimal() for name, _, number in pairs):
        raise argparse.ArgumentTypeError(f"{value!r} is not understood; write z=1 or z=1,r=0")
    return {name.strip(): int(number) for name, _, number in pairs}


_values.__name__ = "values"


def _numbers(value: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in _names(value))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{value!r} is not understood; write 0.5,1,3") from None


_numbers.__name__ = "numbers"


def _at_least_one(value: str) -> int:
    number = int(value)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, found {number}")
    return number


_at_least_one.__name__ = "number"

OPTIONS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "system": (("system",), {"metavar": "SYSTEM", "help": SYSTEM}),
    "systems": (("systems",), {"metavar": "SYSTEM", "nargs": "*", "help": f"{SYSTEM}; left out: all of the catalogue"}),
    "kind": (("kind",), {"metavar": "KIND", "help": "of the picture: graph, flow, growth or paths"}),
    "query": (("query",), {"metavar": "QUERY", "nargs": "?", "help": "whose paths, or flow: dh[t]/dh[t-1], dL/dh[t]"}),
    "queries": (("queries",), {"metavar": "QUERY", "nargs": "*", "help": "what to derive; left out: the main results"}),
    "output": (("-o", "--output"), {"metavar": "FILE", "help": "write to FILE; its suffix says the format"}),
    "format": (
        ("--format",),
        {"choices": ("text", "json"), "default": "text", "help": "of the output (default: text)"},
    ),
    "hold": (("--hold",), {"metavar": "NAMES", "type": _names, "default": (), "help": "names held constant: z,r"}),
    "where": (
        ("--where",),
        {"metavar": "NAMES", "type": _values, "default": {}, "help": "the result at a value: z=1 (every entry)"},
    ),
    "unroll": (("--unroll",), {"metavar": "T", "type": _at_least_one, "help": "a number in place of T, all expanded"}),
    "labels": (("--labels",), {"action": "store_true", "help": "the edges of a graph with their local partials"}),
    "others": (
        ("--with",),
        {"dest": "others", "metavar": "SYSTEMS", "type": _names, "default": (), "help": "beside it: lstm,gru"},
    ),
    "scales": (
        ("--scales",),
        {"metavar": "NUMBERS", "type": _numbers, "default": (), "help": "norms of the recurrent matrices: 0.5,1,3"},
    ),
    "layout": (("--layout",), {"choices": ("numerator", "denominator"), "help": "layout of ∂y/∂x"}),
    "notation": (("--notation",), {"metavar": "NAME", "help": "goodfellow; bar,superscript; …"}),
    "check": (("--check",), {"action": "store_true", "help": "check every result and say how; exit 1 if one fails"}),
    "pseudocode": (
        ("--pseudocode",),
        {"action": "store_true", "help": "its sweeps as algorithms: Python to be read; as LaTeX with --format json"},
    ),
    "schedule": (
        ("--schedule",),
        {
            "action": "store_true",
            "help": "what is computed when, what is one product, what is kept: forward and backward",
        },
    ),
    "cotangents": (
        ("--cotangents",),
        {"metavar": "NAMES", "type": _names, "help": "states that have cotangents: h,c (default: the outputs)"},
    ),
    "files": (("files",), {"metavar": "FILE", "nargs": "+", "help": DOCUMENT}),
    "report": (
        ("--format",),
        {"choices": REPORTS, "default": "text", "help": "of the report (default: text, or what the suffix of -o says)"},
    ),
    "strict": (("--strict",), {"action": "store_true", "help": "what holds only if …, or is undecided, fails too"}),
    "verbose": (("-v", "--verbose"), {"action": "store_true", "help": "what holds is unfolded as well"}),
    "speaks": (
        ("--system",),
        {"dest": "speaks", "metavar": "NAME", "help": "of the catalogue, of which the documents speak"},
    ),
    "seed": (("--seed",), {"type": int, "default": 0, "help": "of the random values that a check uses (default: 0)"}),
    "jobs": (("-j", "--jobs"), {"metavar": "N", "type": _at_least_one, "default": 1, "help": "processes (default: 1)"}),
    "roads": (("--roads",), {"metavar": "NAMES", "type": _names, "default": (), "help": "only these oracles"}),
    "network": (("network",), {"metavar": "NETWORK", "help": f"equations; {SYSTEM}; a number of hidden units"}),
    "spec": (("--spec",), {"metavar": "SYSTEM", "help": "what the network is to compute: equations, or as NETWORK"}),
    "set": (
        ("--set",),
        {
            "dest": "values",
            "metavar": "VALUES",
            "default": "",
            "help": "of the network: 'W=[[1,-1],[1,1]], b=-3/2, h[0]=1'",
        },
    ),
    "range": (
        ("--range",),
        {
            "dest": "ranges",
            "metavar": "NAMES",
            "type": _names,
            "default": (),
            "help": "for which values of these: c,h[0]",
        },
    ),
    "search": (
        ("--search",),
        {
            "metavar": "NAMES",
            "type": _names,
            "default": (),
            "help": "find weights: W,b,h[0]; all: those without a value",
        },
    ),
    "grid": (
        ("--grid",),
        {"metavar": "NUMBERS", "type": _names, "default": (), "help": "that --search tries (default: -2,-3/2,…,2)"},
    ),
    "backend": (
        ("--backend",),
        {"metavar": "B", "default": "numpy", "help": "numpy, c, numba, jax or torch (default: numpy)"},
    ),
}


# --- commands ---------------------------------------------------------------------------------------------------------


def _list(options: argparse.Namespace) -> int:
    from derive import catalogue

    titles = catalogue.titles()
    if options.format == "json":
        return _print_json([{"name": name, "title": title} for name, title in titles.items()])
    width = max(map(len, titles), default=0)
    rows = "\n".join(f"{name:{width}}  {title}" for name, title in titles.items())
    families = catalogue.families()
    numbered = f"{', '.join(families)} take a number: {families[0]}(3)"
    made = ", ".join(f"{name}(NAME)" for name in catalogue.TRANSFORMATIONS)
    return _print(f"{rows}\n\n{numbered}; {made} make another system of one")


def _show(options: argparse.Namespace) -> int:
    from derive import catalogue
    from derive.notation import notation
    from derive.render import facts

    style = notation(options.notation or "default")
    if options.pseudocode and options.schedule:
        raise DeriveError("--pseudocode and --schedule are two pages; ask for one of them")
    if options.cotangents is not None and not options.schedule:
        raise DeriveError("--cotangents is for --schedule: what else is shown has none chosen; add --schedule")
    if options.pseudocode:
        return _show_algorithms(options)
    if options.schedule:
        return _show_schedule(options)
    if catalogue.is_document(options.system):
        return _show_document(options, style)
    system = _load(options.system)
    if options.format == "json":
        return _print_json(facts.data(system, style))
    return _print(facts.text(system, style))


def _show_algorithms(options: argparse.Namespace) -> int:
    """The sweeps of a system: Python for a terminal, with the LaTeX as JSON."""
    from derive.render.pseudocode import algorithms

    found = algorithms(_load(options.system), options.notation)
    if options.format == "json":
        return _print_json([{"title": a.title, "python": a.source, "latex": a.latex, "tex": a.tex} for a in found])
    note = "# A Trajectory has the values of a variable by step, matrices of one shape; it is zero where it has none."
    return _print("\n\n\n".join([note, *(f"# {a.title}\n\n{a.source}" for a in found)]))


def _show_schedule(options: argparse.Namespace) -> int:
    """What is computed when: the program that every backend prints."""
    from derive.notation import notation
    from derive.schedule import account, schedule, text
    from derive.schedule.terms import chosen_seeds

    system = _load(options.system)
    program = schedule(system, chosen_seeds(system, options.cotangents))
    style = notation(options.notation or "bar")
    if options.format == "json":
        return _print_json(account.data(program, style))
    return _print(text.text(program, style))


def _show_document(options: argparse.Namespace, style: Notation) -> int:
    """The systems of a document, and every claim as it was understood; 2 where one was not, and should be."""
    from derive import catalogue
    from derive.reader.understand import read
    from derive.render import claims

    path, number = catalogue.document_and_number(options.system)
    found = read(path) if number is None else read(path).about(number)
    if options.format == "json":
        _print_json(claims.data(found, style))
    else:
        _print(claims.text(found, style))
    return UNUSABLE if any(claim.unread and not claim.is_left_out for claim in found.claims) else DONE


def _solve(options: argparse.Namespace) -> int:
    from derive import queries, render

    write = render.renderer(options.output) if options.output else None
    system = _load(options.system)
    asked = options.queries or queries.main_results(system)
    derivations = [_derivation(system, query, options) for query in _with_progress(asked)]
    if write:
        render.write(options.output, write(derivations))
    elif options.format == "json":
        _print(render.json.render(derivations))
    else:
        _print(render.terminal.render(derivations, colour=_colour()))
    failed = [d.query for d in derivations if d.verdict is not None and not d.verdict]
    for query in failed:
        print(f"derive: the check of {query} failed", file=sys.stderr)
    return FAILED if failed else DONE


def _derivation(system: System, query: str, options: argparse.Namespace) -> Derivation:
    found = system.derive(
        query,
        hold=options.hold,
        unroll=options.unroll,
        layout=options.layout,
        notation=options.notation,
        where=options.where,
    )
    return found.checked(options.seed) if options.check else found


def _export(options: argparse.Namespace) -> int:
    from derive import emit, render

    system = _load(options.system)
    source = emit.module_source(system, options.backend, options.cotangents)
    if options.output:
        render.write(options.output, source)
        return DONE
    if options.format == "json":
        return _print_json({"system": system.name, "backend": options.backend, "source": source})
    return _print(source)


def _plot(options: argparse.Namespace) -> int:
    from derive import pictures, render

    write = pictures.writer(options.output or "stdout.svg")
    picture = drawn(_load(options.system), options)
    if not options.output:
        return _print(write(picture))
    render.write(options.output, write(picture))
    return DONE


DRAWN_WITH = ("unroll", "hold", "labels", "seed", "where", "scales")
"""The options of `plot` that go to the picture as they are."""


def drawn(system: System, options: argparse.Namespace) -> Picture:
    """The picture that the options of `plot` ask for."""
    from derive import pictures

    given = {name: getattr(options, name) for name in DRAWN_WITH}
    others = tuple(map(_load, options.others))
    return pictures.draw(system, options.kind, options.query, others=others, **given)


def _check(options: argparse.Namespace) -> int:
    from derive import catalogue

    names = options.systems or list(catalogue.names())
    rows = [row for name in _with_progress(names, _checked(names, options)) for row in name]
    if options.format == "json":
        _print_json([_cells(row) for row in rows])
    else:
        _print(table([_cells(row) for row in rows]))
    return DONE if rows and all(_cells(row)["ok"] for row in rows) else FAILED


def _verify(options: argparse.Namespace) -> int:
    from derive import documents, render
    from derive.render import reports
    from derive.verdicts.report import Report
    from derive.verdicts.verify import verify_each

    files = list(documents.within(options.files))
    found = verify_each(
        files, jobs=options.jobs, seed=options.seed, given=tuple(_given(options)), progress=_counted(files)
    )
    report = Report(tuple(_with_progress(files, found)), options.strict)
    if not files:
        raise DeriveError(
            f"no document with a `derive:` comment is in {', '.join(options.files)}; name the files themselves"
        )
    if options.output:
        render.write(options.output, reports.FORMATS[_report_format(options)](report))
    elif options.format == "text":
        _print(reports.text.render(report, colour=_colour(), width=_width(), verbose=options.verbose))
    else:
        _print(reports.FORMATS[options.format](report))
    return report.exit_code


def _given(options: argparse.Namespace) -> Iterator[str]:
    """The options as directives that stand before every document."""
    yield from [f"system {options.speaks}"] if options.speaks else []
    yield from [f"hold {', '.join(options.hold)}"] if options.hold else []
    yield from [f"layout {options.layout}"] if options.layout else []
    yield from [f"unroll {options.unroll}"] if options.unroll else []


def _report_format(options: argparse.Namespace) -> str:
    suffixes = {".html": "html", ".json": "json", ".xml": "junit", ".sarif": "sarif"}
    asked = options.format != "text"
    return options.format if asked else suffixes.get(os.path.splitext(options.output)[1].lower(), "text")


def _counted(files: Sequence[str]) -> Callable[[int, int], None] | None:
    """A terminal on stderr sees which claim of a single document is under way."""
    if len(files) != 1 or not sys.stderr.isatty():
        return None

    def show(number: int, count: int) -> None:
        print(f"\r\033[Kclaim {number}/{count}" if number < count else "\r\033[K", end="", file=sys.stderr, flush=True)

    return show


def _width() -> int:
    """Of the terminal, within what is easy to read."""
    return min(max(get_terminal_size((100, 24)).columns, 60), 120)


def _checked(names: Sequence[str], options: argparse.Namespace) -> Iterator[list[Any]]:
    """The rows of each system, in order, from as many processes as were asked for."""
    from derive.processes import mapped

    return mapped(_check_one, [(name, options.seed, options.roads) for name in names], options.jobs)


def _check_one(work: tuple[str, int, tuple[str, ...]]) -> list[Any]:
    from derive.check import check_systems

    name, seed, roads = work
    return list(check_systems([name], seed=seed, roads=roads or None))


def _prove(options: argparse.Namespace) -> int:
    from derive import automata, catalogue

    if options.spec is None and not options.search and catalogue.is_document(options.network):
        return _prove_document(options)
    if options.spec is None:
        raise DeriveError(
            "say with --spec what the network is to compute, as in --spec 'y[t] = y[t-1] * x[t]; y[0] = 1'"
        )
    network = int(options.network) if options.network.isdecimal() else options.network
    if options.search:
        grid = options.grid or automata.GRID
        weights = () if options.search == ("all",) else options.search
        found = automata.search(network, options.spec, weights, options.values, grid)
        return _proved(found, options, f"{found}\n\n{found.proof.tables}" if found.proof else str(found))
    if isinstance(network, int):
        raise DeriveError(f"the weights of a network with {network} hidden units are to be found: add --search all")
    if options.ranges:
        values = automata.ranges(network, options.spec, options.ranges, options.values)
        return _proved(values, options, f"true exactly for {values}" if values else f"true for {values}")
    proof = automata.prove(network, options.spec, options.values)
    return _proved(proof, options, f"{proof}\n\n{proof.tables}")


def _prove_document(options: argparse.Namespace) -> int:
    from derive import catalogue
    from derive.verdicts.proved import proved

    path, number = catalogue.document_and_number(options.network)
    found = proved(path, number, options.values, options.ranges)
    if options.format == "json":
        _print_json([one.data() for one in found])
    else:
        _print("\n\n".join(f"{path}:{one}" for one in found))
    return DONE if all(one.as_expected for one in found) else FAILED


def _proved(found: Any, options: argparse.Namespace, said: str) -> int:
    if options.format == "json":
        _print_json(found.data())
    else:
        _print(said)
    return DONE if found else FAILED


COMMANDS: dict[str, tuple[Callable[[argparse.Namespace], int], str, tuple[str, ...]]] = {
    "list": (_list, "the catalogue", ("format",)),
    "show": (
        _show,
        "equations, dimensions, parameters and reference of a system",
        ("system", "pseudocode", "schedule", "cotangents", "notation", "format"),
    ),
    "solve": (
        _solve,
        "a worked solution, step by step; FILE.tex .html .md .pdf .ipynb .json .txt, else the terminal",
        ("system", "queries", "output", "hold", "where", "unroll", "layout", "notation", "check", "seed", "format"),
    ),
    "plot": (
        _plot,
        "a picture of a system, as SVG or TikZ: FILE.svg .tex, else SVG on stdout",
        ("system", "kind", "query", "output", "unroll", "hold", "where", "labels", "others", "scales", "seed"),
    ),
    "export": (
        _export,
        "a standalone module: forward pass and gradients",
        ("system", "backend", "cotangents", "output", "format"),
    ),
    "verify": (
        _verify,
        "every claim of documents: holds, holds if …, fails and why; exit 1 if one fails, 2 if one is unread",
        ("files", "output", "report", "strict", "verbose", "speaks", "hold", "layout", "unroll", "seed", "jobs"),
    ),
    "prove": (
        _prove,
        "a network of threshold units against what it is to compute, for strings of every length",
        ("network", "spec", "set", "range", "search", "grid", "format"),
    ),
    "check": (_check, "every derivation against every oracle", ("systems", "roads", "seed", "jobs", "format")),
}


# --- what the commands share ------------------------------------------------------------------------------------------


def _load(spec: str) -> System:
    from derive import catalogue

    return catalogue.load(spec)


FORMATS = {"seconds": "{:.2f}"}
"""How numbers of a column are written, where it is not as `1.2e-16`."""


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of cells as a table, what failed in a line each below it, and a last line that counts."""
    if not rows:
        return "nothing was checked"
    columns = [key for key in rows[0] if key not in ("ok", "failure")]
    lines = [[*columns, ""]]
    lines += ([*(_cell(c, row.get(c)) for c in columns), "ok" if row["ok"] else "FAILED"] for row in rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    body = ["  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    failures = [f"{row[columns[0]]}: {row['failure']}" for row in rows if row.get("failure")]
    good = sum(bool(row["ok"]) for row in rows)
    return "\n".join([*body, "", *failures, f"{good} passed, {len(rows) - good} failed"])


def _cell(column: str, value: Any) -> str:
    if value is None:
        return "-"
    return FORMATS.get(column, "{:.1e}").format(value) if isinstance(value, float) else str(value)


def _cells(row: Any) -> dict[str, Any]:
    """A row of `check_systems` as a mapping: its fields, and whether all is `ok`."""
    return {**vars(row), "ok": row.ok}


def _with_progress(names: Sequence[str], results: Iterator[Any] | None = None) -> Iterator[Any]:
    """`results` (or `names`) one by one; a terminal on stderr sees which of several is under way."""
    shown = sys.stderr.isatty() and len(names) > 1
    for number, (name, result) in enumerate(zip(names, results or iter(names), strict=True), 1):
        if shown:
            print(f"\r\033[K{number}/{len(names)} {name}", end="", file=sys.stderr, flush=True)
        yield result
    if shown:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def _colour() -> bool:
    """Colours for a person at a terminal who has not declined them (NO_COLOR)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _print(text: str) -> int:
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")  # formulas are Unicode in every locale
    print(text.rstrip("\n"))
    return DONE


def _print_json(data: Any) -> int:
    from derive.render.json import dumps

    return _print(dumps(data))
