"""Results in the forms of other tools: one file for each form."""

FORMS = ("inspect", "every-eval-ever", "skylight", "kvpress")
"""Each is the name of a module here, with - for _."""
