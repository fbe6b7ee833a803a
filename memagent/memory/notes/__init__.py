"""Memory as notes: facts with validity, or a sheet of labels and values."""
