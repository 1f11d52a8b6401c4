"""A system as a standalone PyTorch module.

    printer      nodes as expressions, and the functions that they call
    statements   a statement as one line that writes into memory
    memory       what shares memory and what lies side by side
    passes       the statements of a program as lines
    second       the second adjoint, a derived system
    module       the source
    text         what every module has in common
    tensors      the module, run
"""

from derive.emit.torch.tensors import compile

__all__ = ["compile"]
