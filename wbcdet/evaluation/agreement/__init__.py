"""Agreement of wbcdet's differential with a manual one, after the idea of CLSI H20."""
