"""A system as a standalone PyTorch module.

printer      nodes as expressions, and the functions that they call
statements   a statement as one line that writes into memory
memory       what shares memory and what lies side by side
groups       statements of a loop that are one operation
views        what a function reads, and how it is called
passes       the statements of a program as lines
totals       gradients as lines
body         a function: its lines, and what they use
loss         the function with the loss
second       the second adjoint, a derived system
frame        what every module has in common, as text
module       the source
tensors      the module, run
"""

from derive.emit.torch.tensors import compile, source

__all__ = ["compile", "source"]
