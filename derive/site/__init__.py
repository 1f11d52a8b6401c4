"""The site: every document and every system of the catalogue as a page that can be read, copied from and downloaded.

sheet       what a page says, whatever it is written in: prose, formulas with their verdicts, derivations, pictures, code
asked       a fenced `derive` block: its lines, and the derivations and pictures that they ask for
documents   a Markdown document as a sheet
systems     a system of the catalogue as a sheet
prose       Markdown to HTML and to LaTeX
page        a sheet as an HTML page
overview    the first page
downloads   a sheet as .tex, .pdf, .ipynb and .md
formulas    KaTeX, run when the site is built
build       all pages, in several processes; only those whose sources changed

A new kind of block is a class in `sheet` and a row each in `page.WRITERS`, `downloads.TEX` and `downloads.CELLS`.
"""
