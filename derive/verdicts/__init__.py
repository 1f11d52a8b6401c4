r"""From claims to verdicts: a hand derivation, line by line.

    documents    verify report                                  a file, claim by claim; what is said of it, as plain data
    equations    judge assumptions question shorthands          as read, as meant, as left unsaid; what the oracles are asked
                 ladder kinks unknowns uses                     how one formula is decided; what can't be called wrong
    others       statements relations bounds                    inequalities: ranges, proofs, counterexamples
                 implications pathlists graph words growth      special values; lists of paths; sentences
                 bits strings proved                            networks of threshold units: proofs, enumeration
    causes       (a package of its own)                         why a line is wrong: changes whose result holds

An assumption is a function and a row in `assumptions`, a kind of claim a module and a row in `statements`, a sentence in
words a row in `words`, a cause a function and a row in `causes.diagnosis`.
"""
