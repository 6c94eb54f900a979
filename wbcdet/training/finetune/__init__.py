"""Fine-tune the classifier for one laboratory from the cells that were reviewed there."""
