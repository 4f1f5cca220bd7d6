"""Reports: what result files say, as tables and pictures.  Reads files only."""
