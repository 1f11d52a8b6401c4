"""The catalogue: one architecture a file, known by the file's name with dashes, `lstm-peephole`."""
