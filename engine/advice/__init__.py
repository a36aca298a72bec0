"""Diagnosis: what is wrong with a host, what shows it, and what to change. Pure: views in, findings out.

Not here: running the model again with a fix (``service.trial``), or how findings are drawn (``vmqtui``).
"""
