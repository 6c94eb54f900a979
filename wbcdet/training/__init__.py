"""Data sets, training, evaluation and export. Needs the extra ``wbcdet[train]``."""
