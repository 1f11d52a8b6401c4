"""From LaTeX to systems and claims: a document is read, never run."""
