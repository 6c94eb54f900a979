"""Agreement of wbcdet's differential with a manual one, modelled on CLSI H20."""
