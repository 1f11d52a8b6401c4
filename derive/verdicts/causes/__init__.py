"""Why a line is wrong: changes of it that make it right, each checked as a line of its own.

diagnosis                                   what is tried, in which order; what is named at last
samples elimination                         what formulas are worth at a few points; linear equations over the field
residual counted                            paths that are missing or counted twice
boundary                                    a line that is true except at an end
derived departed                            what the engine derives, and where the line departs from it
sites pool slips                            where and with what a single edit may be made; the table of edits
edits reordered insertions gates summed     the edits
repairs                                     what is a repair: an edit of the line, true, and it says something
"""
