"""Training, fine-tuning and export of the models. Needs the extra ``wbcdet[train]``."""
