"""Programs as loops over single numbers, for languages that run them as fast as arrays: C and numba.

language    what loops are made of: scalars, nests, products, walks over the lattice
walks       going through them
vectors     functions of whole vectors as nests
entries     one entry of a node as a scalar, a rule for every kind of node
fusion      neighbouring nests over the same axes as one loop
lowering    statements as walks with loops inside
economy     what need not be stored
losses      the loss, and what it gives to gradients
memory      blocks of memory, and how far arrays reach beyond the lattice
placement   where every array lies
kernel      routines that share their values
plan        a whole program: `plan(system)`
module      the Python around the loops: checks, memory, results
calls       how that calls its routines: text
names       what arrays, sizes and steps are called
scalars     scalars as expressions of a language
printer     routines in a language
"""
