"""Evaluation: how right wbcdet is on labelled pictures, the project's lists or a user's own."""
