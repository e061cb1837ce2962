"""What longsplice costs, measured: one small module per subject, ratios within one run.

In come a name and a size (full or quick); out comes a table of figures, each beside its target. Nothing
here is imported by the packages, and no figure fails a test: a machine's noise is no defect.
"""
