r"""From claims to verdicts: a hand derivation, line by line.

    report         what is said of a claim, a file, several files: plain data
"""
