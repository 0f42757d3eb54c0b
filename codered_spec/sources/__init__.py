"""Sources: what reads into the model. Strangers to each other."""
