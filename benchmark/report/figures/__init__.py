"""Pictures of results for papers, drawn from the same facts as the page."""
