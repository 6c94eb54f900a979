"""Count the white cells under a live microscope camera, each once."""
