"""One HTML file that shows results: facts as JSON, and the scripts that draw them."""
