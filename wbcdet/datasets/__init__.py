"""Pictures to train and test on: public archives, synthetic smears."""
