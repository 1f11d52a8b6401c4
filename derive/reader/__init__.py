r"""From documents to systems and claims.

    text      document source scan markdown macros directives limits      a file: its displays and directives, with places
    trees     tokens grammar stream signs atoms parse account tree        LaTeX: the neutral tree of one formula
    names     names habits scope outputs                                  what scripts can be, what names mean here
    values    values products ranges postfix references derivatives grown continued big calls blocks scripts heads chains
              resolve troubles clashes                                      every reading of a tree that shapes allow
    systems   naming terms translate losses define                            forward equations: a system
    claims    relations implications statements new_names variants steering sections claims understand
              own                                                         a document: its claims; our own output, read back

A new sign is a row of `grammar`, a new head of a chain a function in `heads.HEADS`, a new kind of tree one in
`resolve.RULES`, a new directive a row of `directives.WORDS` and of `steering.DIRECTIVES`, an assumption that people make
a row of `values.ASSUMPTIONS` and, where nothing in the formula shows it, a function in `variants`.
"""
