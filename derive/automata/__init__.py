"""Networks of threshold units as finite automata: proofs for strings of every length.

    from derive.automata import prove, ranges, search

    what is given   settings stated                    numbers and functions; a network with its numbers
    translation     terms arrays folds wiring          equations entry by entry; a formula as steps that read from left to right
    exploration     machines monitors tables           what a step does; a claim beside its network; tables, the smallest ones
    questions       proofs affine cells                is it so; for which values of a parameter
                    units weights                      with which weights

A network over bits whose activations are thresholds keeps finitely many values from one step to the next.  All that it
can do is in the states that it reaches, so that a claim that is true in each of them is true for strings of every length.
Numbers are exact throughout.
"""

from derive.automata.cells import Ranges
from derive.automata.proofs import Proof, prove, ranges
from derive.automata.tables import Automaton
from derive.automata.weights import GRID, Search, search

__all__ = ["GRID", "Automaton", "Proof", "Ranges", "Search", "prove", "ranges", "search"]
