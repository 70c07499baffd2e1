"""One data-plane process: from the inherited listener to the journal."""
