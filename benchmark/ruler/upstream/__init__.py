"""RULER's own samples: drawn as its programs draw them, worded as a checkout of it words them."""
