"""Evaluate wbcdet on labelled pictures: the project's lists or a user's own."""
