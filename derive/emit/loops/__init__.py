"""Programs as loops over single numbers, for languages that run them as fast as arrays: C and numba.

    language    what loops are made of: scalars, nests, products, walks over the lattice
    vectors     functions of whole vectors as nests
    entries     one entry of a node as a scalar, a rule for every kind of node
    fusion      neighbouring nests over the same axes as one loop
    plan        a whole program
"""
