"""The catalogue: one architecture a file, each known by its file's name with dashes (`lstm_peephole.py` is `lstm-peephole`)."""
