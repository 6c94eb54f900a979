"""Data sets to train and test on: public archives, synthetic smears."""
