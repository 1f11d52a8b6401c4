"""What is computed when: a system and its adjoint as one program, whatever the language it is written in.

program     arrays and statements, sweeps and fused products: what a backend prints
terms       what is asked of right-hand sides; the system whose adjoint `vjp` is
borders     gradients of boundary values
hoist       what leaves a loop
products    matrix products by name
fusion      products that are one product
storage     the order of statements, and how long what they compute is kept
build       `schedule(system)`
diagonal    loops that are linear in their state, entry by entry: parallel scans
fronts      loops of a grid as waves
formulas    what statements compute, as equations
account     a program as data
text        a program for a person
"""

from derive.schedule.build import schedule
from derive.schedule.program import Program

__all__ = ["Program", "schedule"]
